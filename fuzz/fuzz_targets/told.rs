//! Any bytes as what a network tells a station: neighbours, routers, groups, errors, DHCP.
#![no_main]

#[path = "../../crates/tcpip/src/stack/tests/told/mod.rs"]
mod told;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| told::check(bytes));

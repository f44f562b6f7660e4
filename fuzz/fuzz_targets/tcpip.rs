//! Any bytes as what happens to two stacks with a wire between them, and to those who use them.
#![no_main]

#[path = "../../crates/tcpip/src/stack/tests/driven/mod.rs"]
mod driven;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| driven::check(bytes));

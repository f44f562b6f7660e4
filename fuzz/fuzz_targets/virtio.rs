//! Any bytes as what a driver does to the rings of a device, honest or not.
#![no_main]

#[path = "../../crates/virtio/src/net/device/tests/driven.rs"]
mod driven;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| driven::check(bytes));

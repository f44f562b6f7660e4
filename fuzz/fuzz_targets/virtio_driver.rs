//! Any bytes as what a device does to the rings of its driver, honest or not.
#![no_main]

#[path = "../../crates/virtio/src/net/tests/hostile/mod.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hostile::check(bytes));

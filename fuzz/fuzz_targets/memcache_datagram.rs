//! Any bytes as a datagram that a memcache server gets, and as what it answers.
#![no_main]

#[path = "../../crates/memcache/src/tests/frames.rs"]
mod frames;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| frames::check_datagram(bytes));

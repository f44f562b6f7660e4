//! Any bytes as the input of a memcache client that has asked for something, whole and in pieces.
#![no_main]

#[path = "../../crates/memcache/src/tests/answered.rs"]
mod answered;
#[path = "../../crates/memcache/src/tests/numbers.rs"]
mod numbers;
#[path = "../../crates/memcache/src/tests/pieces.rs"]
mod pieces;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| answered::check_client(bytes));

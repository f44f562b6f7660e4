//! Any bytes as the input of a memcache server, whole and in pieces.
#![no_main]

#[path = "../../crates/memcache/src/tests/numbers.rs"]
mod numbers;
#[path = "../../crates/memcache/src/tests/pieces.rs"]
mod pieces;
#[path = "../../crates/memcache/src/tests/served.rs"]
mod served;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| served::check_server(bytes));

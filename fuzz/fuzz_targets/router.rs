//! Any lines as patterns of a router and a path, beside a router that tries every pattern.
#![no_main]

#[path = "../../crates/http/src/router/tests/naive.rs"]
mod naive;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| naive::check(bytes));

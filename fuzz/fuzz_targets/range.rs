//! Any bytes as a `Range` field and the length of a file, beside a plain way to find the parts.
#![no_main]

#[path = "../../crates/http/src/files/naive_range.rs"]
mod naive_range;
#[path = "../../crates/http/src/files/range.rs"]
mod range;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| naive_range::check(bytes));

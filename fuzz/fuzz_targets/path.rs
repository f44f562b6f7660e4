//! Any bytes as the path of a file, beside a plain way to decode it.
#![no_main]

#[path = "../../crates/http/src/files/naive_path.rs"]
mod naive_path;
#[path = "../../crates/http/src/files/path.rs"]
mod path;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| naive_path::check(bytes));

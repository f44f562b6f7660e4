//! Any lines as `Accept-Encoding` fields, beside a plain way to read them.
#![no_main]

#[expect(dead_code, unreachable_pub, reason = "it is what the crate offers; the coders behind it are not built here")]
#[path = "../../crates/http/src/compress/accept.rs"]
mod accept;
#[path = "../../crates/http/src/compress/naive_accept.rs"]
mod naive_accept;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| naive_accept::check(bytes));

//! Any lines as fields of a conditional request, beside a plain way to evaluate them.
#![no_main]

#[path = "../../crates/http/src/files/conditional.rs"]
mod conditional;
#[path = "../../crates/http/src/files/naive_conditional.rs"]
mod naive_conditional;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| naive_conditional::check(bytes));

//! Any bytes as a frame, as each of the headers that may be in it, and as something to be added up.
#![no_main]

#[path = "../../crates/wire/src/tests/views.rs"]
mod views;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| views::check(bytes));

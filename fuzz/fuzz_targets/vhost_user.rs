//! Any bytes as what a front end asks of a vhost-user back end.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sunstar_device::check_vhost_user(bytes));

//! Any bytes as what a vhost-user back end answers to a front end.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sunstar_device::check_vhost_user_front(bytes));

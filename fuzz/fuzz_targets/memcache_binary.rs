//! Any bytes as packets of the binary memcache protocol, whole and in pieces.
#![no_main]

#[path = "../../crates/memcache/src/tests/packets.rs"]
mod packets;
#[path = "../../crates/memcache/src/tests/pieces.rs"]
mod pieces;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| packets::check_packets(bytes));

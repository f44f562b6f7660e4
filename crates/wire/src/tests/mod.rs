//! Tests of what is read and built, from tables and from random bytes.

mod captured;
mod checksums;
mod corpus;
mod dhcpv4;
mod dhcpv6;
mod extensions;
mod groups;
mod hashes;
mod neighbours;
mod properties;
mod properties_v6;
mod refused;
mod segments;
mod views;

/// Bytes from hexadecimal digits; spaces and line ends mean nothing.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit.try_into().unwrap()).collect();
    assert!(digits.len().is_multiple_of(2), "whole bytes");
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

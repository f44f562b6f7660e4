//! What the checks of both sides need.

use sunstar_memcache::Limits;

/// Small ones, so that inputs of some hundred bytes reach them; but values of a server that count for those under way.
pub(crate) const LIMITS: Limits =
    Limits { line_bytes: 280, item_bytes: 20_000, pending_value_bytes: 1 << 20, requests_in_flight: 32 };

/// Eight bytes as a seed, and the others.
pub(crate) fn seeded(bytes: &[u8]) -> (u64, &[u8]) {
    let (seed, input) = bytes.split_at(bytes.len().min(8));
    let mut padded = [0; 8];
    padded[..seed.len()].copy_from_slice(seed);
    (u64::from_le_bytes(padded), input)
}

/// Pieces of lengths that the seed says.
pub(crate) fn split(mut input: &[u8], mut seed: u64) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while !input.is_empty() {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let len = 1 + ((seed >> 33) & if seed >> 63 == 0 { 7 } else { 127 }) as usize;
        let (piece, rest) = input.split_at(len.min(input.len()));
        pieces.push(piece);
        input = rest;
    }
    pieces
}

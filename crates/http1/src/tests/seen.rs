//! What a connection is seen to do, put so that it does not depend on how its input was split.

use sunstar_http1::{Error, Headers, Limits};

/// Small, so that short inputs reach them.
pub(super) const LIMITS: Limits = Limits {
    start_line_bytes: 64,
    header_bytes: 256,
    headers: 8,
    body_bytes: 300,
    chunk_extension_bytes: 16,
    trailer_bytes: 32,
    interim_responses: 3,
    pipelined_requests: 3,
    output_bytes: 1000,
    ..Limits::DEFAULT
};

/// Reads eight bytes as a seed, and the others as input.
pub(super) fn seeded(bytes: &[u8]) -> (u64, &[u8]) {
    let (seed, input) = bytes.split_at(bytes.len().min(8));
    (seed.iter().fold(0, |seed: u64, &byte| seed << 8 | u64::from(byte)), input)
}

/// Cuts the input into pieces of pseudo-random lengths.
pub(super) fn split(input: &[u8], seed: u64) -> Vec<&[u8]> {
    let (mut rest, mut state) = (input, seed | 1);
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let count = usize::from((state >> 33).to_le_bytes()[0] % 40).min(rest.len());
        let (piece, others) = rest.split_at(count);
        pieces.push(piece);
        rest = others;
    }
    pieces
}

/// An event, with the bytes of a body put together.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Head(String),
    Body(Vec<u8>),
    /// With what followed the body.
    End(String),
    Error(Error),
}

pub(super) fn see_body(seen: &mut Vec<Seen>, bytes: &[u8]) {
    assert!(!bytes.is_empty(), "an event without bytes");
    match seen.last_mut() {
        Some(Seen::Body(body)) => body.extend_from_slice(bytes),
        _ => seen.push(Seen::Body(bytes.to_vec())),
    }
}

/// The fields behind a body, of which none may frame a message.
pub(super) fn trailers(fields: Option<&Headers>) -> String {
    for (name, value) in fields.into_iter().flat_map(Headers::iter) {
        let forbidden = ["content-length", "transfer-encoding", "host", "trailer", "authorization", "content-type"];
        assert!(forbidden.iter().all(|other| !name.eq_ignore_ascii_case(other.as_bytes())), "{}", name.escape_ascii());
        assert!(!name.is_empty() && !value.iter().any(|byte| b"\r\n\0".contains(byte)));
    }
    format!("{fields:?}")
}

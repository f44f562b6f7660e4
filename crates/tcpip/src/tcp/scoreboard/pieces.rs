//! Payloads, which are in pieces.

use sunstar_packet::Buffer;

use super::Payload;

/// The numbers of a payload.
pub(super) fn payload_len(payload: &Payload) -> u32 {
    payload.iter().map(|part| u32::try_from(part.len()).unwrap_or(u32::MAX)).sum()
}

/// Drops the first `count` bytes.
pub(super) fn drop_front(payload: &mut Payload, count: u32) {
    let mut left = count as usize;
    while let Some(first) = payload.first_mut() {
        if first.len() > left {
            first.advance(left);
            return;
        }
        left -= first.len();
        payload.remove(0);
    }
}

/// Leaves the first `count` bytes and answers with the others.
pub(super) fn split_payload(payload: &mut Payload, count: u32) -> Payload {
    let mut left = count as usize;
    let mut rest = core::mem::take(payload);
    let is_whole = |part: &&Buffer| {
        let fits = part.len() <= left;
        left -= if fits { part.len() } else { 0 };
        fits
    };
    let whole = rest.iter().take_while(is_whole).count();
    payload.extend(rest.drain(..whole));
    if left > 0
        && let Some(part) = rest.first_mut()
    {
        payload.push(part.split_to(left));
    }
    rest
}

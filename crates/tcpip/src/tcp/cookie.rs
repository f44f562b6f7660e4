//! SYN cookies: a stranger for whom there is no place is remembered by what he has to say again (RFC 4987 §3.6).
//!
//! Our initial number is a keyed hash of who asks, of their number and of the time, and holds the size of their segments. What else they
//! have asked for stands in the lowest bits of our timestamp, which they echo, as in Linux; who sends no timestamps goes without. Both
//! together are their SYN again, as far as it matters, and what follows is [`HalfOpen`]'s.

use core::num::NonZeroU16;
use core::time::Duration;

use sunstar_wire::{FourTuple, Seq, TcpFlags, TcpHeader, TcpOptions, TcpTimestamps, WindowScale};

use super::connection::Options;
use super::half_open::{HalfOpen, ts_clock};
use super::secret::Secret;
use crate::time::Instant;

#[cfg(test)]
mod tests;

/// The time changes so often in what is hashed.
const SLOT: Duration = Duration::from_secs(64);

/// A cookie is good in the time in which it was sent and in the next one: for 64 s at least, and no longer than this.
pub(super) const LIFETIME: Duration = Duration::from_secs(128);

/// Sizes of segments that a cookie can hold; the largest one counts that is no larger than theirs. The first is what everybody takes (RFC
/// 9293 §3.7.1), then what is left of IPv6's least packet, of Ethernet behind PPP or with IPv6, and of Ethernet.
const SIZES: [NonZeroU16; 4] = [size(536), size(1_220), size(1_440), size(1_460)];

/// The lowest bits of our timestamp: a window scale or that there is none, whether they take SACK, and a bit that is ECN's once that is
/// spoken.
const TS_BITS: u32 = 6;
const SCALE_MASK: u32 = 0xf;
const NO_SCALE: u32 = 0xf;
const SACK: u32 = 1 << 4;

/// Below the number of the time lie so many bits of the hash.
const HASH_BITS: u32 = 24;
const HASH_MASK: u32 = (1 << HASH_BITS) - 1;

const fn size(bytes: u16) -> NonZeroU16 {
    NonZeroU16::new(bytes).expect("it is not zero")
}

/// The answer to a SYN, of which nothing is remembered; `flow` is ours. None if their segments are smaller than a cookie can say.
pub(super) fn answer(
    now: Instant,
    secret: &Secret,
    flow: &FourTuple,
    syn: &TcpHeader,
    options: &Options,
    link_mss: u16,
) -> Option<TcpHeader> {
    /// RFC 9293 §3.7.1: what is taken by who does not say.
    const DEFAULT_MSS: u16 = 536;
    let mss = syn.options.mss.map_or(DEFAULT_MSS, Into::into);
    let size = SIZES.iter().rposition(|size| size.get() <= mss)?;
    let timestamps = syn.options.timestamps.filter(|_| options.offers_timestamps);
    let kept = TcpOptions {
        mss: Some(SIZES[size]),
        timestamps,
        // Without timestamps there is no place for these.
        window_scale: syn.options.window_scale.filter(|_| timestamps.is_some()),
        is_sack_permitted: syn.options.is_sack_permitted && timestamps.is_some(),
        ..TcpOptions::default()
    };
    let kept = TcpHeader { options: kept, ..*syn };
    let iss = cookie(secret, flow, syn.seq, slot(now), pack(size, timestamps.is_some()));
    let ts_offset = secret.timestamp_offset(flow);
    let mut half_open = HalfOpen::new(&kept, options, iss, ts_offset);
    half_open.limit_mss(link_mss);
    let mut header = half_open.answer_again(now, options);
    if let Some(timestamps) = &mut header.options.timestamps {
        timestamps.tsval = ts_with(ts_clock(now, ts_offset), &kept.options);
    }
    Some(header)
}

/// The stranger whom an acknowledgement shows to have got a cookie of ours, a short time ago. Answer nothing and let it handle the segment.
pub(super) fn open(
    now: Instant,
    secret: &Secret,
    flow: &FourTuple,
    header: &TcpHeader,
    options: &Options,
    link_mss: u16,
) -> Option<HalfOpen> {
    let (iss, irs) = (header.ack - 1, header.seq - 1);
    let (size, has_timestamps) = unpack(now, secret, flow, irs, iss)?;
    let ts_offset = secret.timestamp_offset(flow);
    let timestamps = header.options.timestamps.filter(|_| has_timestamps);
    if has_timestamps && !timestamps.is_some_and(|both| is_recent(now, ts_offset, both.tsecr)) {
        return None;
    }
    let bits = timestamps.map_or(NO_SCALE, |both| both.tsecr);
    let scale = u8::try_from(bits & SCALE_MASK).ok().filter(|scale| u32::from(*scale) != NO_SCALE);
    let said = TcpOptions {
        mss: Some(size),
        window_scale: scale.map(WindowScale::new),
        is_sack_permitted: bits & SACK != 0,
        timestamps: timestamps.map(|both| TcpTimestamps { tsval: both.tsval, tsecr: 0 }),
        ..TcpOptions::default()
    };
    let syn =
        TcpHeader { flags: TcpFlags::SYN, seq: irs, window: header.window, options: said, ..TcpHeader::default() };
    let mut half_open = HalfOpen::new(&syn, options, iss, ts_offset);
    half_open.limit_mss(link_mss);
    Some(half_open)
}

/// What stands for our clock and for what they have asked for. It is not later than the clock, so that what follows is not before it (RFC
/// 7323 §5.3).
fn ts_with(clock: u32, options: &TcpOptions) -> u32 {
    let scale = options.window_scale.map_or(NO_SCALE, |scale| u32::from(scale.shift()));
    let bits = scale | if options.is_sack_permitted { SACK } else { 0 };
    let tsval = (clock >> TS_BITS << TS_BITS) | bits;
    let is_later = tsval.wrapping_sub(clock).cast_signed() > 0;
    tsval.wrapping_sub(if is_later { 1 << TS_BITS } else { 0 })
}

/// Whether we have sent a timestamp in a cookie that may still be good.
fn is_recent(now: Instant, ts_offset: u32, tsecr: u32) -> bool {
    let age_ms = u128::from(ts_clock(now, ts_offset).wrapping_sub(tsecr));
    age_ms <= LIFETIME.as_millis() + (1 << TS_BITS)
}

/// The number of the present time.
fn slot(now: Instant) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a clock that wraps")]
    let slot = (now.as_micros() / 1_000_000 / SLOT.as_secs()) as u32;
    slot
}

fn pack(size: usize, has_timestamps: bool) -> u32 {
    u32::try_from(size).unwrap_or(0) << 1 | u32::from(has_timestamps)
}

/// Our first number. It grows with theirs and with time, so that of two connections of the same ports the later one begins later, as
/// far as 24 bits of a hash allow (RFC 6528 §3).
fn cookie(secret: &Secret, flow: &FourTuple, irs: Seq, slot: u32, packed: u32) -> Seq {
    let [base, hash] = secret.cookie(flow, irs, slot);
    let hidden = hash.wrapping_add(packed) & HASH_MASK;
    Seq::new((slot << HASH_BITS | hidden).wrapping_add(base).wrapping_add(irs.value()))
}

/// The size of their segments, and whether they send timestamps, if we have sent that cookie.
fn unpack(now: Instant, secret: &Secret, flow: &FourTuple, irs: Seq, cookie: Seq) -> Option<(NonZeroU16, bool)> {
    let now = slot(now);
    let [base, _] = secret.cookie(flow, irs, now);
    let rest = cookie.value().wrapping_sub(base).wrapping_sub(irs.value());
    let age = now.wrapping_sub(rest >> HASH_BITS) & (u32::MAX >> HASH_BITS);
    if age > 1 && !planted::is("cookie_ages_ignored") {
        return None;
    }
    let [_, hash] = secret.cookie(flow, irs, now.wrapping_sub(age));
    let packed = rest.wrapping_sub(hash) & HASH_MASK;
    let size = SIZES.get(usize::try_from(packed >> 1).unwrap_or(usize::MAX));
    let size = size.or(planted::is("cookie_believed").then_some(&SIZES[0]));
    size.map(|size| (*size, packed & 1 != 0))
}

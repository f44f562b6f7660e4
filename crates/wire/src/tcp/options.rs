//! The options of a TCP header.

use core::fmt;
use core::num::NonZeroU16;
use core::ops::Deref;

use super::fast_open::FastOpenOption;
use crate::header_bytes::HeaderBytes;
use crate::options::{NO_OPERATION, OptionIter, RawOption};
use crate::seq::Seq;

/// Bytes of options at most.
const OPTIONS_BYTES: usize = 40;
/// Bytes of timestamps and what aligns them.
pub(super) const TIMESTAMPS_BYTES: usize = 12;

/// Kinds (RFC 9293 §3.1, RFC 2018, RFC 7323).
const MAXIMUM_SEGMENT_SIZE: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
/// RFC 7413 §4.1.1, and RFC 6994 with the number that was used before.
const FAST_OPEN: u8 = 34;
const EXPERIMENT: u8 = 254;
const FAST_OPEN_EXPERIMENT: [u8; 2] = [0xf9, 0x89];

/// The options that are known, each at most once.
///
/// Read, they are what Linux makes of the same bytes:
/// - unknown ones are skipped, and known ones whose length is not theirs; of two of a kind the last one counts;
/// - one whose length is less than two or reaches beyond the header ends the options, and those before it count;
/// - a maximum segment size of zero is none; more than four SACK blocks have no room.
///
/// Which of them mean something without SYN, or were agreed upon, the connection knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// The most payload that the sender takes in a segment (RFC 9293 §3.7.1).
    pub mss: Option<NonZeroU16>,
    /// By how much the sender's windows are shifted (RFC 7323 §2).
    pub window_scale: Option<WindowScale>,
    /// Whether the sender takes SACK blocks (RFC 2018 §2).
    pub is_sack_permitted: bool,
    /// The sender's clock, and an echo of the receiver's (RFC 7323 §3).
    pub timestamps: Option<TcpTimestamps>,
    /// What the sender has beyond the acknowledgment (RFC 2018 §3). When they are sent, those for which there is no room are left
    /// out: the last one beside timestamps, more in a SYN.
    pub sack: SackBlocks,
    /// A cookie of Fast Open, or the wish for one (RFC 7413 §4.1.1). It means something in a SYN only, and is left out where there is no
    /// room.
    pub fast_open: Option<FastOpenOption>,
}

impl TcpOptions {
    /// Bytes that they take, with padding: at most 40, a multiple of four.
    #[inline]
    pub const fn len(&self) -> usize {
        if self.sack.len == 0 && self.fast_open.is_none() {
            return self.len_without_sack();
        }
        let blocks = self.fitting_blocks();
        let sack = if blocks == 0 { 0 } else { 4 + SackBlock::LEN * blocks };
        let len = self.len_without_sack() + sack;
        match &self.fast_open {
            Some(option) if len + option.padded_len() <= OPTIONS_BYTES => len + option.padded_len(),
            _ => len,
        }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes these the options of nearly every segment: timestamps, or none. That is less work than to write a new value here.
    #[inline]
    pub fn set_lone_timestamps(&mut self, timestamps: Option<TcpTimestamps>) {
        (self.mss, self.window_scale, self.is_sack_permitted) = (None, None, false);
        self.timestamps = timestamps;
        // What is behind means nothing.
        self.sack.len = 0;
        self.fast_open = None;
    }

    /// The timestamps, if there is nothing else.
    #[inline]
    pub fn lone_timestamps(&self) -> Option<TcpTimestamps> {
        let has_others = self.mss.is_some()
            || self.window_scale.is_some()
            || self.is_sack_permitted
            || !self.sack.is_empty()
            || self.fast_open.is_some();
        self.timestamps.filter(|_| !has_others)
    }

    const fn len_without_sack(&self) -> usize {
        let mss = if self.mss.is_some() { 4 } else { 0 };
        let window_scale = if self.window_scale.is_some() { 4 } else { 0 };
        // "SACK permitted" takes the place of what aligns the timestamps.
        let others = match (self.timestamps.is_some(), self.is_sack_permitted) {
            (true, _) => TIMESTAMPS_BYTES,
            (false, true) => 4,
            (false, false) => 0,
        };
        mss + window_scale + others
    }

    /// For how many SACK blocks there is room beside the other options.
    const fn fitting_blocks(&self) -> usize {
        let room = (OPTIONS_BYTES - 4 - self.len_without_sack()) / SackBlock::LEN;
        let len = self.sack.len as usize;
        if len < room { len } else { room }
    }

    #[inline]
    pub(super) fn parse(options: &[u8]) -> Self {
        if let Some(timestamps) = TcpTimestamps::parse_aligned(options) {
            return Self { timestamps: Some(timestamps), ..Self::default() };
        }
        Self::parse_each(options)
    }

    fn parse_each(options: &[u8]) -> Self {
        let mut parsed = Self::default();
        OptionIter::new(options).map_while(Result::ok).for_each(|option| parsed.take(option));
        parsed
    }

    fn take(&mut self, RawOption { kind, data }: RawOption<'_>) {
        match (kind, data) {
            (MAXIMUM_SEGMENT_SIZE, &[a, b]) => self.mss = NonZeroU16::new(u16::from_be_bytes([a, b])).or(self.mss),
            (WINDOW_SCALE, &[shift]) => self.window_scale = Some(WindowScale::new(shift)),
            (SACK_PERMITTED, []) => self.is_sack_permitted = true,
            (TIMESTAMPS, _) => {
                if let Some(data) = data.as_array() {
                    self.timestamps = Some(TcpTimestamps::from_bytes(*data));
                }
            }
            (SACK, _) => {
                if let (blocks @ [_, ..], []) = data.as_chunks() {
                    self.sack = blocks.iter().map(SackBlock::from_bytes).collect();
                }
            }
            (FAST_OPEN, cookie) => self.fast_open = FastOpenOption::new(cookie).or(self.fast_open),
            (EXPERIMENT, [a, b, cookie @ ..]) if [*a, *b] == FAST_OPEN_EXPERIMENT => {
                let option = FastOpenOption::new(cookie).map(|option| option.experimental(true));
                self.fast_open = option.or(self.fast_open);
            }
            _ => {}
        }
    }

    /// Writes them in the order and with the alignment that Linux uses, so that what most segments have is found by its first bytes.
    pub(super) fn write<const N: usize>(&self, bytes: &mut HeaderBytes<N>) {
        if let Some(mss) = self.mss {
            let [a, b] = mss.get().to_be_bytes();
            bytes.extend(&[MAXIMUM_SEGMENT_SIZE, 4, a, b]);
        }
        let in_front = if self.is_sack_permitted { [SACK_PERMITTED, 2] } else { [NO_OPERATION; 2] };
        if let Some(timestamps) = self.timestamps {
            bytes.extend(&timestamps.to_bytes(in_front));
        } else if self.is_sack_permitted {
            bytes.extend(&[NO_OPERATION, NO_OPERATION, SACK_PERMITTED, 2]);
        }
        if let Some(WindowScale(shift)) = self.window_scale {
            bytes.extend(&[NO_OPERATION, WINDOW_SCALE, 3, shift]);
        }
        let count = if planted::is("sack_without_room") { self.sack.len() } else { self.fitting_blocks() };
        let blocks = &self.sack[..count];
        if !blocks.is_empty() {
            // At most 34.
            let [.., len] = (2 + SackBlock::LEN * blocks.len()).to_be_bytes();
            bytes.extend(&[NO_OPERATION, NO_OPERATION, SACK, len]);
            blocks.iter().for_each(|block| bytes.extend(&block.to_bytes()));
        }
        if let Some(option) = &self.fast_open {
            self.write_fast_open(option, bytes);
        }
    }
}

impl TcpOptions {
    /// Writes the option of Fast Open behind the others, if there is room.
    fn write_fast_open<const N: usize>(&self, option: &FastOpenOption, bytes: &mut HeaderBytes<N>) {
        let without = Self { fast_open: None, ..*self };
        if without.len() == self.len() {
            return;
        }
        // At most 20.
        let [.., len] = option.raw_len().to_be_bytes();
        if option.is_experimental {
            let [a, b] = FAST_OPEN_EXPERIMENT;
            bytes.extend(&[EXPERIMENT, len, a, b]);
        } else {
            bytes.extend(&[FAST_OPEN, len]);
        }
        bytes.extend(option.cookie());
        let padding = [NO_OPERATION; 2];
        bytes.extend(&padding[..option.padded_len() - option.raw_len()]);
    }
}

/// By how many bits windows are shifted: at most 14.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WindowScale(u8);

impl WindowScale {
    /// The most that there is.
    pub const MAX: Self = Self(14);

    /// A shift; one of more than 14 counts as 14 (RFC 7323 §2.3).
    pub const fn new(shift: u8) -> Self {
        if shift > Self::MAX.0 { Self::MAX } else { Self(shift) }
    }

    /// By how many bits.
    pub const fn shift(self) -> u8 {
        self.0
    }
}

/// The clocks of both sides (RFC 7323 §3), with its names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpTimestamps {
    /// The sender's clock.
    pub tsval: u32,
    /// The last value of the receiver's clock that the sender has; it means something with ACK only.
    pub tsecr: u32,
}

impl TcpTimestamps {
    /// Reads options that are just timestamps in the form that everybody sends (RFC 7323 appendix A).
    #[inline]
    pub(super) fn parse_aligned(options: &[u8]) -> Option<Self> {
        let (&[NO_OPERATION, NO_OPERATION, TIMESTAMPS, 10], data) = options.split_first_chunk()? else { return None };
        data.as_array().map(|data| Self::from_bytes(*data))
    }

    const fn from_bytes([a, b, c, d, e, f, g, h]: [u8; 8]) -> Self {
        Self { tsval: u32::from_be_bytes([a, b, c, d]), tsecr: u32::from_be_bytes([e, f, g, h]) }
    }

    /// What is in front of them in the form that everybody sends.
    pub(super) const ALIGNED_HEAD: [u16; 2] =
        [u16::from_be_bytes([NO_OPERATION; 2]), u16::from_be_bytes([TIMESTAMPS, 10])];

    const fn to_bytes(self, [x, y]: [u8; 2]) -> [u8; TIMESTAMPS_BYTES] {
        let ([a, b, c, d], [e, f, g, h]) = (self.tsval.to_be_bytes(), self.tsecr.to_be_bytes());
        [x, y, TIMESTAMPS, 10, a, b, c, d, e, f, g, h]
    }
}

/// Bytes that the sender has although some before them are missing. Whether that can be the connection knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SackBlock {
    /// The first one.
    pub left: Seq,
    /// The one behind the last one.
    pub right: Seq,
}

impl SackBlock {
    const LEN: usize = 8;

    fn from_bytes(&[a, b, c, d, e, f, g, h]: &[u8; Self::LEN]) -> Self {
        Self { left: Seq::new(u32::from_be_bytes([a, b, c, d])), right: Seq::new(u32::from_be_bytes([e, f, g, h])) }
    }

    const fn to_bytes(self) -> [u8; Self::LEN] {
        let ([a, b, c, d], [e, f, g, h]) = (self.left.value().to_be_bytes(), self.right.value().to_be_bytes());
        [a, b, c, d, e, f, g, h]
    }
}

/// Up to four SACK blocks, in their order: the first one is the newest (RFC 2018 §4), or a duplicate (RFC 2883).
#[derive(Clone, Copy, Default)]
pub struct SackBlocks {
    /// Those behind `len` mean nothing.
    blocks: [SackBlock; Self::MAX],
    len: u8,
}

impl SackBlocks {
    /// The most that have room in a header.
    pub const MAX: usize = 4;

    /// No blocks.
    pub const NONE: Self = Self { blocks: [SackBlock { left: Seq::new(0), right: Seq::new(0) }; Self::MAX], len: 0 };

    /// Puts a block behind the others, if there is room, and answers whether there was.
    pub fn push(&mut self, block: SackBlock) -> bool {
        let has_room = usize::from(self.len) < Self::MAX;
        if has_room {
            self.blocks[usize::from(self.len)] = block;
            self.len += 1;
        }
        has_room
    }
}

impl PartialEq for SackBlocks {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        // Hardly any segment has some.
        self.len == other.len && (self.len == 0 || **self == **other)
    }
}

impl Eq for SackBlocks {}

/// Takes the first four; further ones are left out.
impl FromIterator<SackBlock> for SackBlocks {
    fn from_iter<I: IntoIterator<Item = SackBlock>>(blocks: I) -> Self {
        let mut these = Self::NONE;
        blocks.into_iter().take_while(|block| these.push(*block)).for_each(drop);
        these
    }
}

impl Deref for SackBlocks {
    type Target = [SackBlock];

    fn deref(&self) -> &[SackBlock] {
        &self.blocks[..usize::from(self.len)]
    }
}

impl fmt::Debug for SackBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

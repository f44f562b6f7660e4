//! TCP headers (RFC 9293 §3.1).

mod fast_open;
mod flags;
mod options;

use crate::addresses::AddressPair;
use crate::checksum::{Fill, Sum, pseudo_header};
use crate::error::Error;
use crate::header_bytes::HeaderBytes;
use crate::ip::IpProtocol;
use crate::options::OptionIter;
use crate::seq::Seq;

pub use fast_open::FastOpenOption;
pub use flags::TcpFlags;
pub use options::{SackBlock, SackBlocks, TcpOptions, TcpTimestamps, WindowScale};

/// Bytes of a header without options.
const HEADER_BYTES: usize = 20;
/// Bytes of a header at most: the data offset has four bits and counts four bytes each.
const MAX_HEADER_BYTES: usize = 60;
/// A data offset of 32 bytes, where it stands beside the flags.
const DATA_OFFSET_WITH_TIMESTAMPS: u16 = 0x8000;
/// Where the checksum lies.
const CHECKSUM_AT: usize = 16;

/// A view of a TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct TcpSegment<'a> {
    header: &'a [u8; HEADER_BYTES],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> TcpSegment<'a> {
    /// Looks at a segment, or at the first piece of one, which must have the whole header. How long the segment is only the IP
    /// header tells: `bytes` must not go beyond.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::HeaderLength`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Error::Truncated)?;
        let header_len = usize::from(header[12] >> 4) * 4;
        let options_len = header_len.checked_sub(HEADER_BYTES).ok_or(Error::HeaderLength)?;
        let (options, payload) = rest.split_at_checked(options_len).ok_or(Error::HeaderLength)?;
        Ok(Self { header, options, payload })
    }

    /// The header as a value.
    pub fn header(&self) -> TcpHeader {
        TcpHeader {
            src_port: self.src_port(),
            dst_port: self.dst_port(),
            seq: self.seq(),
            ack: self.ack(),
            flags: self.flags(),
            window: self.window(),
            urgent_pointer: self.urgent_pointer(),
            options: self.options(),
        }
    }

    /// The same in the place of another header, since it is large.
    #[inline]
    pub fn read_header(&self, header: &mut TcpHeader) {
        let Some(timestamps) = self.lone_timestamps() else {
            *header = self.header();
            return;
        };
        (header.src_port, header.dst_port) = (self.src_port(), self.dst_port());
        (header.seq, header.ack) = (self.seq(), self.ack());
        (header.flags, header.window, header.urgent_pointer) = (self.flags(), self.window(), self.urgent_pointer());
        header.options.set_lone_timestamps(Some(timestamps));
    }

    /// Bytes of the header with its options.
    pub const fn header_len(&self) -> usize {
        HEADER_BYTES + self.options.len()
    }

    /// The source port.
    pub const fn src_port(&self) -> u16 {
        self.word(0)
    }

    /// The destination port.
    pub const fn dst_port(&self) -> u16 {
        self.word(2)
    }

    /// The sequence number of the first byte, or of the SYN.
    pub const fn seq(&self) -> Seq {
        Seq::new(self.double_word(4))
    }

    /// The sequence number that the sender expects next, if the flags have [`TcpFlags::ACK`].
    pub const fn ack(&self) -> Seq {
        Seq::new(self.double_word(8))
    }

    /// The flags.
    pub const fn flags(&self) -> TcpFlags {
        TcpFlags::from_bits(self.word(12))
    }

    /// How much the sender takes, before scaling.
    pub const fn window(&self) -> u16 {
        self.word(14)
    }

    /// The checksum as it came.
    pub const fn checksum(&self) -> u16 {
        self.word(CHECKSUM_AT)
    }

    /// Where urgent data end, if the flags have [`TcpFlags::URG`].
    pub const fn urgent_pointer(&self) -> u16 {
        self.word(18)
    }

    /// The options that are known. The rest of what is malformed is ignored, as in Linux; see [`TcpOptions`].
    pub fn options(&self) -> TcpOptions {
        TcpOptions::parse(self.options)
    }

    /// The timestamps of a segment that has no other options: what nearly every segment of a connection under way looks like.
    ///
    /// Nothing means that there may be others, or none: [`TcpSegment::options`] tells.
    #[inline]
    pub fn lone_timestamps(&self) -> Option<TcpTimestamps> {
        TcpTimestamps::parse_aligned(self.options)
    }

    /// Whether the options say the same as others.
    #[inline]
    pub fn has_options(&self, others: &TcpOptions) -> bool {
        match self.lone_timestamps() {
            Some(timestamps) => others.lone_timestamps() == Some(timestamps),
            None => self.options() == *others,
        }
    }

    /// All options as they lie there.
    pub const fn raw_options(&self) -> OptionIter<'a> {
        OptionIter::new(self.options)
    }

    /// Whether the checksum of a segment in one piece is right.
    pub fn has_valid_checksum(&self, addresses: AddressPair) -> bool {
        let len = self.header_len() + self.payload.len();
        let Ok(len) = u32::try_from(len) else { return false };
        // Options are a multiple of four bytes, so each piece begins at an even place.
        let sum = Sum::of(self.header) + Sum::of(self.options) + Sum::of(self.payload);
        (sum + pseudo_header(addresses, IpProtocol::TCP, len)).is_valid()
    }

    /// The payload, or as much of it as lies in the first piece.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    const fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.header[at], self.header[at + 1]])
    }

    const fn double_word(&self, at: usize) -> u32 {
        u32::from_be_bytes([self.header[at], self.header[at + 1], self.header[at + 2], self.header[at + 3]])
    }
}

/// The header of a TCP segment, without data offset and checksum, which follow from the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpHeader {
    /// The source port.
    pub src_port: u16,
    /// The destination port.
    pub dst_port: u16,
    /// The sequence number of the first byte, or of the SYN.
    pub seq: Seq,
    /// The sequence number that is expected next; it means something with [`TcpFlags::ACK`] only.
    pub ack: Seq,
    /// The flags.
    pub flags: TcpFlags,
    /// How much the sender takes, before scaling.
    pub window: u16,
    /// Where urgent data end; it means something with [`TcpFlags::URG`] only.
    pub urgent_pointer: u16,
    /// The options.
    pub options: TcpOptions,
}

impl TcpHeader {
    /// A header with nothing but ports.
    pub fn new(src_port: u16, dst_port: u16) -> Self {
        Self { src_port, dst_port, ..Self::default() }
    }

    /// Bytes of the header with its options: 20 to 60, a multiple of four.
    #[inline]
    pub const fn header_len(&self) -> usize {
        HEADER_BYTES + self.options.len()
    }

    /// The header to be put in front of its payload.
    #[inline]
    pub fn to_bytes(&self, fill: Fill) -> HeaderBytes<MAX_HEADER_BYTES> {
        match self.to_bytes_with_timestamps(fill) {
            Some(bytes) => HeaderBytes::of(&bytes),
            None => self.bytes_with_any_options(fill),
        }
    }

    /// The same of a header with any options.
    #[inline(never)]
    pub(crate) fn bytes_with_any_options(&self, fill: Fill) -> HeaderBytes<MAX_HEADER_BYTES> {
        let mut fixed = [0; HEADER_BYTES];
        fixed[..2].copy_from_slice(&self.src_port.to_be_bytes());
        fixed[2..4].copy_from_slice(&self.dst_port.to_be_bytes());
        fixed[4..8].copy_from_slice(&self.seq.value().to_be_bytes());
        fixed[8..12].copy_from_slice(&self.ack.value().to_be_bytes());
        fixed[12..14].copy_from_slice(&(self.data_offset() | self.flags.bits()).to_be_bytes());
        fixed[14..16].copy_from_slice(&self.window.to_be_bytes());
        fixed[18..].copy_from_slice(&self.urgent_pointer.to_be_bytes());
        let mut bytes = HeaderBytes::EMPTY;
        bytes.extend(&fixed);
        self.options.write(&mut bytes);
        let field = fill.field(&bytes);
        bytes.set_word(CHECKSUM_AT, field);
        bytes
    }

    /// The same of a header that has timestamps and no other options, as nearly all have; nothing of another one.
    // Where it is called it stays in registers until it is written to its place.
    #[inline(always)]
    pub fn to_bytes_with_timestamps(&self, fill: Fill) -> Option<[u8; Self::LEN_WITH_TIMESTAMPS]> {
        let timestamps = self.options.lone_timestamps()?;
        // Put together in registers: what is written in small pieces can't be read in large ones at once.
        let join =
            |[a, b, c, d]: [u16; 4]| (u64::from(a) << 48) | (u64::from(b) << 32) | (u64::from(c) << 16) | u64::from(d);
        let ports = (u64::from(self.src_port) << 48) | (u64::from(self.dst_port) << 32);
        let flags = DATA_OFFSET_WITH_TIMESTAMPS | self.flags.bits();
        let [kinds, len] = TcpTimestamps::ALIGNED_HEAD;
        let mut words = [
            ports | u64::from(self.seq.value()),
            (u64::from(self.ack.value()) << 32) | join([0, 0, flags, self.window]),
            join([0, self.urgent_pointer, kinds, len]),
            (u64::from(timestamps.tsval) << 32) | u64::from(timestamps.tsecr),
        ]
        .map(u64::to_be);
        let field = match fill {
            Fill::Complete(rest) => words.iter().fold(rest, |sum, word| sum + Sum::of_bytes_of(*word)).checksum(),
            Fill::Partial(pseudo_header) => pseudo_header.partial(),
        };
        words[2] |= join([field, 0, 0, 0]).to_be();
        let mut bytes = [0; Self::LEN_WITH_TIMESTAMPS];
        let (chunks, _) = bytes.as_chunks_mut();
        chunks.iter_mut().zip(words).for_each(|(chunk, word)| *chunk = word.to_ne_bytes());
        Some(bytes)
    }

    /// Bytes of a header with timestamps and no other options.
    pub const LEN_WITH_TIMESTAMPS: usize = HEADER_BYTES + options::TIMESTAMPS_BYTES;

    /// The data offset where it stands beside the flags: in the upper four bits, counting four bytes each.
    const fn data_offset(&self) -> u16 {
        let [.., header_len] = self.header_len().to_be_bytes();
        u16::from_be_bytes([header_len / 4 * 16, 0])
    }
}

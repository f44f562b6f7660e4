//! The internet checksum (RFC 1071): whole, in pieces, updated, and partial for devices that finish it.
//!
//! All of it is arithmetic on [`Sum`]s: add up what is covered, then take [`Sum::checksum`], or ask [`Sum::is_valid`] if the checksum
//! was among it. Sums of pieces are added; a piece that begins at an odd place is [swapped](Sum::swapped) first, which
//! [`Sum::of_chain`] sees to.
//!
//! ```
//! use sunstar_wire::checksum::{Sum, update};
//!
//! let header = [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
//! assert_eq!(Sum::of(&header).checksum(), 0xb861);
//!
//! // A router takes one off the time to live, which shares its 16 bits with the protocol.
//! assert_eq!(update(0xb861, Sum::of(&[0x40, 0x11]), Sum::of(&[0x3f, 0x11])), 0xb961);
//! ```

use core::net::{Ipv4Addr, Ipv6Addr};
use core::ops::{Add, AddAssign};

use crate::addresses::AddressPair;
use crate::ip::IpProtocol;

/// The ones' complement sum of 16-bit words, not complemented.
///
/// It is kept as 64 bits in the machine's byte order: the carry goes around the end, so words of any multiple of 16 bits may be
/// added, and the bytes of the result come out in the order in which they went in (RFC 1071 §2).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// The sum of bytes, of which the first one begins a word. A last half of a word is followed by a zero.
    #[inline]
    pub fn of(bytes: &[u8]) -> Self {
        // What is short, as headers are, does not pay for setting up the lanes; of a known length, only for its words.
        if bytes.len() < BLOCK_BYTES {
            sum_of_rest(bytes)
        } else if bytes.len() < FEW_BYTES {
            sum_of_few(bytes)
        } else {
            sum_of_many(bytes)
        }
    }

    /// The sum of a 16-bit word.
    pub const fn of_word(word: u16) -> Self {
        Self(u16::from_ne_bytes(word.to_be_bytes()) as u64)
    }

    /// The sum of the bytes of a number in the machine's order, as they lie in memory.
    pub(crate) const fn of_bytes_of(number: u64) -> Self {
        Self(number)
    }

    /// The sum of pieces that lie one behind the other, each of any length.
    #[inline]
    pub fn of_chain<B: AsRef<[u8]>>(pieces: impl IntoIterator<Item = B>) -> Self {
        Self::ZERO.and_chain(0, pieces)
    }

    /// The sum of `len` bytes, which this is, and of pieces that lie behind them.
    #[inline]
    #[must_use]
    pub fn and_chain<B: AsRef<[u8]>>(self, len: usize, pieces: impl IntoIterator<Item = B>) -> Self {
        let (mut sum, mut at) = (self, len);
        for piece in pieces {
            let piece = piece.as_ref();
            let part = Self::of(piece);
            let is_odd = at % 2 == 1 && !planted::is("odd_piece_unswapped");
            sum += if is_odd { part.swapped() } else { part };
            at += piece.len();
        }
        sum
    }

    /// The sum of the same bytes one place further on, so that odd places become even.
    #[must_use]
    pub const fn swapped(self) -> Self {
        Self(self.0.rotate_left(8))
    }

    /// The sum as 16 bits, not complemented: what a device that finishes the checksum wants to find in its field.
    #[inline]
    pub const fn partial(self) -> u16 {
        let (half, carry) = low_32(self.0).overflowing_add(low_32(self.0 >> 32));
        let half = half + carry as u32;
        let (word, carry) = low_16(half).overflowing_add(low_16(half >> 16));
        u16::from_be_bytes((word + carry as u16).to_ne_bytes())
    }

    /// The checksum of what was added up.
    pub const fn checksum(self) -> u16 {
        !self.partial()
    }

    /// The same for UDP, where zero says that there is none: it is sent as its other form (RFC 768).
    pub const fn udp_checksum(self) -> u16 {
        match self.checksum() {
            0 => 0xffff,
            other => other,
        }
    }

    /// Whether the checksum is right that was added up with what it covers.
    pub const fn is_valid(self) -> bool {
        self.partial() == 0xffff
    }
}

const fn low_32(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

const fn low_16(value: u32) -> u16 {
    (value & 0xffff) as u16
}

/// With end-around carry.
impl Add for Sum {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        let (sum, carry) = self.0.overflowing_add(other.0);
        let carry = carry && !planted::is("carry_lost");
        // Not again: after a carry the sum is at most 2⁶⁴ - 2.
        Self(sum + u64::from(carry))
    }
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// One cache line.
const BLOCK_BYTES: usize = 64;

/// Adds 64-bit words, and their upper halves apart, which tell what was carried out of the lower ones. No lane waits for another or
/// for a carry, so the compiler makes vectors of them. The upper halves have room for 32 GiB.
fn sum_of_blocks(blocks: &[[u8; BLOCK_BYTES]]) -> Sum {
    const LANES: usize = BLOCK_BYTES / 8;
    let (mut words, mut upper) = ([0_u64; LANES], [0_u64; LANES]);
    for block in blocks {
        let (block, _) = block.as_chunks();
        for lane in 0..LANES {
            let word = u64::from_ne_bytes(block[lane]);
            words[lane] = words[lane].wrapping_add(word);
            upper[lane] += word >> 32;
        }
    }
    let words = words.into_iter().fold(0, u64::wrapping_add);
    let upper: u64 = upper.into_iter().sum();
    // What wrapped around was a multiple of 2⁶⁴, so this is the sum of the lower halves, to the bit.
    let lower = words.wrapping_sub(upper << 32);
    // Both kinds of halves begin at words of 16 bits, so neither needs to be put in its place.
    Sum(lower) + Sum(upper)
}

/// What is shorter, as messages are, is added up word by word.
const FEW_BYTES: usize = 4 * BLOCK_BYTES;

/// Adds up some blocks, and their carries apart, so that nothing goes around the end but once.
#[inline(never)]
fn sum_of_few(bytes: &[u8]) -> Sum {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let (mut words, mut carries) = (0_u64, 0);
    for block in blocks {
        let (block, _) = block.as_chunks();
        for word in block {
            let (sum, carry) = words.overflowing_add(u64::from_ne_bytes(*word));
            words = sum;
            carries += u64::from(carry);
        }
    }
    let sum = Sum(words) + Sum(carries);
    if rest.is_empty() { sum } else { sum + sum_of_rest(rest) }
}

/// Adds up many blocks.
#[inline(never)]
fn sum_of_many(bytes: &[u8]) -> Sum {
    let (blocks, rest) = bytes.as_chunks();
    sum_of_blocks(blocks) + sum_of_rest(rest)
}

/// Adds up less than a block.
#[inline]
fn sum_of_rest(bytes: &[u8]) -> Sum {
    let (words, mut rest) = bytes.as_chunks();
    let mut sum = words.iter().fold(Sum::ZERO, |sum, word| sum + Sum(u64::from_ne_bytes(*word)));
    if let Some((half, others)) = rest.split_first_chunk() {
        sum += Sum(u32::from_ne_bytes(*half).into());
        rest = others;
    }
    if let Some((word, others)) = rest.split_first_chunk() {
        sum += Sum(u16::from_ne_bytes(*word).into());
        rest = others;
    }
    if let [byte] = rest {
        sum += Sum(u16::from_ne_bytes([*byte, 0]).into());
    }
    sum
}

/// The sum of the pseudo-header of a transport's packet of `length` bytes, its header included (RFC 9293 §3.1, RFC 8200 §8.1).
///
/// Over IPv4 lengths of more than 65,535 don't exist.
#[inline]
pub fn pseudo_header(addresses: AddressPair, protocol: IpProtocol, length: u32) -> Sum {
    let octets = match addresses {
        AddressPair::V4 { src, dst } => Sum::of(&src.octets()) + Sum::of(&dst.octets()),
        AddressPair::V6 { src, dst } => Sum::of(&src.octets()) + Sum::of(&dst.octets()),
    };
    // The length has 16 bits in one version and 32 in the other, which is the same in a sum.
    octets + Sum::of(&length.to_be_bytes()) + Sum::of_word(protocol.0.into())
}

/// The same for IPv4.
pub fn pseudo_header_v4(src: Ipv4Addr, dst: Ipv4Addr, protocol: IpProtocol, length: u16) -> Sum {
    pseudo_header(AddressPair::V4 { src, dst }, protocol, length.into())
}

/// The same for IPv6.
pub fn pseudo_header_v6(src: Ipv6Addr, dst: Ipv6Addr, protocol: IpProtocol, length: u32) -> Sum {
    pseudo_header(AddressPair::V6 { src, dst }, protocol, length)
}

/// The checksum after words with the sum `old` were replaced by words with the sum `new` at the same places (RFC 1624 §3, eqn. 3).
///
/// The older way, which subtracts from the checksum (RFC 1141), comes upon the wrong one of the two zeros. Here that happens only if
/// everything covered is zero, which a header never is. A UDP checksum that says that there is none must be left alone.
pub fn update(checksum: u16, old: Sum, new: Sum) -> u16 {
    if planted::is("update_minus_zero") {
        return (Sum::of_word(checksum) + Sum::of_word(old.partial()) + Sum::of_word(!new.partial())).partial();
    }
    (Sum::of_word(!checksum) + Sum::of_word(!old.partial()) + new).checksum()
}

/// What goes into the checksum field of a transport header that is built.
#[derive(Clone, Copy, Debug)]
pub enum Fill {
    /// The checksum, from the sum of all that it covers beside the header itself: pseudo-header and payload.
    Complete(Sum),
    /// The sum of the pseudo-header alone: the device does the rest (`sunstar_packet::Checksum::Partial`).
    Partial(Sum),
}

impl Fill {
    /// The field of a header that is otherwise complete, with zero in the field.
    pub(crate) fn field(self, header: &[u8]) -> u16 {
        match self {
            Self::Complete(rest) => (rest + Sum::of(header)).checksum(),
            Self::Partial(pseudo_header) => pseudo_header.partial(),
        }
    }
}

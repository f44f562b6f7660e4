//! Sequence numbers.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

/// A TCP sequence number (RFC 9293 §3.4): a place on a circle of 2³².
///
/// A number is before another one if it is less than half a circle behind it. That is no order (three numbers can each be before
/// the next), so there is no `<`. Of two that lie exactly half a circle apart each is before the other, as in Linux; windows of at
/// most 2³⁰ bytes keep such pairs from being compared.
///
/// ```
/// use sunstar_wire::Seq;
///
/// let snd_una = Seq::new(0xffff_fff0);
/// let snd_nxt = snd_una + 100;
/// assert!(snd_una.is_before(snd_nxt));
/// assert_eq!(snd_nxt - snd_una, 100);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Seq(u32);

impl Seq {
    /// A number as it stands in the header.
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The number as it stands in the header.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// Whether this number comes earlier.
    pub const fn is_before(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() < 0
    }

    /// Whether this number comes earlier or is the same.
    pub const fn is_at_or_before(self, other: Self) -> bool {
        !other.is_before(self)
    }

    /// Whether this number comes later.
    pub const fn is_after(self, other: Self) -> bool {
        other.is_before(self)
    }

    /// Whether this number comes later or is the same.
    pub const fn is_at_or_after(self, other: Self) -> bool {
        !self.is_before(other)
    }

    /// Whether this number is one of the `count` numbers from `start` on. That goes for any `count`.
    pub const fn is_within(self, start: Self, count: u32) -> bool {
        self.0.wrapping_sub(start.0) < count
    }

    /// The later of two.
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        if self.is_before(other) { other } else { self }
    }

    /// The earlier of two.
    #[must_use]
    pub const fn min(self, other: Self) -> Self {
        if other.is_before(self) { other } else { self }
    }
}

/// So many numbers later.
impl Add<u32> for Seq {
    type Output = Self;

    fn add(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }
}

impl AddAssign<u32> for Seq {
    fn add_assign(&mut self, count: u32) {
        *self = *self + count;
    }
}

/// So many numbers earlier.
impl Sub<u32> for Seq {
    type Output = Self;

    fn sub(self, count: u32) -> Self {
        Self(self.0.wrapping_sub(count))
    }
}

/// How many numbers lie from the other one, which comes first, to this one.
impl Sub for Seq {
    type Output = u32;

    fn sub(self, first: Self) -> u32 {
        self.0.wrapping_sub(first.0)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

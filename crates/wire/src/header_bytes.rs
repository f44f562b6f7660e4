//! A header as bytes.

use core::fmt;
use core::ops::Deref;

/// At most `N` bytes of a header, to be put in front of a payload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HeaderBytes<const N: usize> {
    bytes: [u8; N],
    /// At most `N`; what lies behind is zero.
    len: usize,
}

impl<const N: usize> HeaderBytes<N> {
    pub(crate) const EMPTY: Self = Self { bytes: [0; N], len: 0 };

    /// The first `len` bytes of an array whose others are zero.
    pub(crate) const fn new(bytes: [u8; N], len: usize) -> Self {
        Self { bytes, len: if len < N { len } else { N } }
    }

    /// A header of a known length, which is no more than `N`.
    #[inline]
    pub(crate) fn of<const LEN: usize>(header: &[u8; LEN]) -> Self {
        const { assert!(LEN <= N, "there is room") };
        let mut bytes = [0; N];
        bytes[..LEN].copy_from_slice(header);
        Self { bytes, len: LEN }
    }

    /// Puts `part` behind what there is. Who calls has chosen `N` so that it fits.
    pub(crate) fn extend(&mut self, part: &[u8]) {
        let end = self.len + part.len();
        self.bytes[self.len..end].copy_from_slice(part);
        self.len = end;
    }

    /// Overwrites 16 bits.
    pub(crate) fn set_word(&mut self, at: usize, word: u16) {
        [self.bytes[at], self.bytes[at + 1]] = word.to_be_bytes();
    }
}

impl<const N: usize> Deref for HeaderBytes<N> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl<const N: usize> AsRef<[u8]> for HeaderBytes<N> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl<const N: usize> fmt::Debug for HeaderBytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

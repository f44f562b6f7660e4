//! The option of TCP Fast Open (RFC 7413 §4.1.1).

/// Bytes of a cookie at most, and at least.
const MAX: usize = 16;
const MIN: usize = 4;

/// What a SYN says about Fast Open: a cookie, or that one is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FastOpenOption {
    cookie: [u8; MAX],
    len: u8,
    /// In the form from before the option had a number of its own (RFC 6994).
    pub is_experimental: bool,
}

impl FastOpenOption {
    /// A cookie is wanted.
    pub const REQUEST: Self = Self { cookie: [0; MAX], len: 0, is_experimental: false };

    /// A cookie; none if it has no even number of 4 to 16 bytes. An empty one is a request.
    pub fn new(cookie: &[u8]) -> Option<Self> {
        let is_sane = cookie.is_empty() || (MIN..=MAX).contains(&cookie.len()) && cookie.len().is_multiple_of(2);
        let mut option = Self::REQUEST;
        option.cookie.get_mut(..cookie.len()).filter(|_| is_sane)?.copy_from_slice(cookie);
        option.len = u8::try_from(cookie.len()).ok()?;
        Some(option)
    }

    /// The same in the older form.
    #[must_use]
    pub const fn experimental(mut self, is_experimental: bool) -> Self {
        self.is_experimental = is_experimental;
        self
    }

    /// The cookie; it is empty if one is wanted.
    pub fn cookie(&self) -> &[u8] {
        &self.cookie[..usize::from(self.len)]
    }

    /// Whether a cookie is wanted.
    pub const fn is_request(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the option with what aligns it.
    pub(super) const fn padded_len(&self) -> usize {
        self.raw_len().next_multiple_of(4)
    }

    /// Bytes of the option.
    pub(super) const fn raw_len(&self) -> usize {
        self.len as usize + if self.is_experimental { 4 } else { 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cookies_that_can_be_are_taken() {
        for len in 0..20 {
            let cookie = vec![7; len];
            let is_sane = [0, 4, 6, 8, 10, 12, 14, 16].contains(&len);
            assert_eq!(FastOpenOption::new(&cookie).is_some(), is_sane, "{len}");
        }
    }
}

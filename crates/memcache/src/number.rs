//! Numbers as the protocol writes them.

/// A number in decimal digits.
pub(crate) struct Decimal {
    digits: [u8; 20],
    start: u8,
}

impl Decimal {
    pub(crate) fn new(mut number: u64) -> Self {
        let mut digits = [0; 20];
        let mut start = 20;
        loop {
            start -= 1;
            digits[usize::from(start)] = b'0' + (number % 10).to_le_bytes()[0];
            number /= 10;
            if number == 0 {
                return Self { digits, start };
            }
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.digits[usize::from(self.start)..]
    }
}

/// Reads a number without sign; `None` if there is anything but digits, or it is too large.
pub(crate) fn unsigned(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        if planted::is("memcache_number_wraps") {
            return Some(number.wrapping_mul(10).wrapping_add(u64::from(digit)));
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Reads a number that is not negative, before which a plus may stand: peers may write it so.
pub(crate) fn natural(text: &[u8]) -> Option<u64> {
    unsigned(text.strip_prefix(b"+").unwrap_or(text))
}

/// Reads a number that may have a sign.
pub(crate) fn signed(text: &[u8]) -> Option<i64> {
    match text {
        [b'-', digits @ ..] => 0_i64.checked_sub_unsigned(unsigned(digits)?),
        _ => natural(text)?.try_into().ok(),
    }
}

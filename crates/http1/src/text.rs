//! The characters that the grammar speaks of (RFC 9110 §5.6).

/// What each byte may be, a bit for each.
static CLASSES: [u8; 256] = classes();

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const HOST: u8 = 4;

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    loop {
        let class = &mut classes[byte as usize];
        if byte.is_ascii_alphanumeric() {
            *class |= TOKEN | HOST;
        }
        if matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        ) {
            *class |= TOKEN;
        }
        // Unreserved, percent-encoded, sub-delims (RFC 3986 §3.2.2).
        if matches!(
            byte,
            b'.' | b'-'
                | b'_'
                | b'~'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        ) {
            *class |= HOST;
        }
        if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
            *class |= VALUE;
        }
        if byte == u8::MAX {
            return classes;
        }
        byte += 1;
    }
}

#[inline]
const fn is(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

/// Whether a byte may stand in a token.
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    is(byte, TOKEN)
}

/// Whether the bytes are a token.
pub(crate) const fn is_token(bytes: &[u8]) -> bool {
    let mut at = 0;
    while at < bytes.len() {
        if !is_token_byte(bytes[at]) {
            return false;
        }
        at += 1;
    }
    at > 0
}

/// Whether a byte may stand in a field's value: visible, a space or tab, or beyond ASCII.
pub(crate) const fn is_value_byte(byte: u8) -> bool {
    is(byte, VALUE)
}

/// Whether the bytes may be a field's value.
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| is_value_byte(byte))
}

/// The elements of a comma-separated list, without the whitespace around them; empty ones are left out (RFC 9110 §5.6.1).
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// The bytes without spaces and tabs around them.
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether the bytes are `host [":" port]` (RFC 3986 §3.2.2, §3.2.3), as `Host` and an absolute target have it. The host may be
/// empty, where there is none.
pub(crate) fn is_authority(bytes: &[u8]) -> bool {
    let in_host = |&byte: &u8| is(byte, HOST);
    let port = match bytes {
        [b'[', rest @ ..] => {
            let end = rest.iter().position(|byte| !in_host(byte) && *byte != b':').unwrap_or(rest.len());
            let Some((b']', port)) = rest[end..].split_first() else { return false };
            if end == 0 {
                return false;
            }
            port
        }
        _ => &bytes[bytes.iter().position(|byte| !in_host(byte)).unwrap_or(bytes.len())..],
    };
    match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// The decimal digits of a number.
pub(crate) struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    pub(crate) fn new(mut number: u64) -> Self {
        let mut digits = [b'0'; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10).to_le_bytes()[0];
            number /= 10;
            if number == 0 {
                return Self { digits, start };
            }
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

/// The number that the bytes are, which must be digits only (RFC 9110 §8.6); `None` also when it is too large.
pub(crate) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0_u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::{Decimal, decimal, is_authority, list};

    #[test]
    fn numbers_are_digits_only_and_bounded() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for text in ["", "+1", "-1", "1 ", "0x1", "1,1", "18446744073709551616", "99999999999999999999999"] {
            assert_eq!(decimal(text.as_bytes()), None, "{text}");
        }
        for number in [0, 9, 10, 12_345, u64::MAX] {
            assert_eq!(Decimal::new(number).as_bytes(), number.to_string().as_bytes());
        }
    }

    #[test]
    fn lists_have_elements() {
        assert_eq!(list(b" a ,\t, b").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(list(b"").count(), 0);
    }

    #[test]
    fn authorities_are_hosts_with_ports() {
        for text in ["", "a", "a.b-c:80", "127.0.0.1:10000", "[::1]", "[::1]:80", "a:", "%41"] {
            assert!(is_authority(text.as_bytes()), "{text}");
        }
        for text in ["a b", "a/b", "u@a", "a:b", "a:123456", "[", "[]", "[::1", "[::1]x", "[::1]:x", "a\\b", "a:1:2"] {
            assert!(!is_authority(text.as_bytes()), "{text}");
        }
    }
}

//! Percent-encoding (RFC 3986 §2.1).

use alloc::borrow::Cow;
use alloc::vec::Vec;

/// Whether each percent sign begins the encoding of a byte.
pub(super) fn is_valid(mut bytes: &[u8]) -> bool {
    while let Some(at) = bytes.iter().position(|&byte| byte == b'%') {
        match &bytes[at + 1..] {
            [high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => bytes = rest,
            _ => return false,
        }
    }
    true
}

/// The bytes that are meant, one by one. What is no encoding stands for itself.
pub(super) fn decoded(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let (&first, others) = rest.split_first()?;
        if let (b'%', [high, low, behind @ ..]) = (first, others)
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            rest = behind;
            return Some(high << 4 | low);
        }
        rest = others;
        Some(first)
    })
}

/// The bytes that are meant; they are copied only if something is encoded.
pub(super) fn decode(bytes: &[u8]) -> Cow<'_, [u8]> {
    if bytes.contains(&b'%') { Cow::Owned(decoded(bytes).collect::<Vec<u8>>()) } else { Cow::Borrowed(bytes) }
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_two_digits() {
        for text in ["", "a", "%41", "%2F%2f", "100%25", "%e2%82%ac"] {
            assert!(is_valid(text.as_bytes()), "{text}");
        }
        for text in ["%", "a%", "%4", "%4g", "%%41", "%u0041", "%-1", "%+1"] {
            assert!(!is_valid(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn only_what_is_encoded_is_copied() {
        assert!(matches!(decode(b"plain+text"), Cow::Borrowed(b"plain+text")));
        assert_eq!(decode(b"%41%2fb%00%25%ff"), &b"A/b\0%\xff"[..]);
        assert_eq!(decode(b"100%"), &b"100%"[..]);
    }
}

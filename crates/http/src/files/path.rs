//! Paths of requests as paths of files.

use std::vec::Vec;

/// Why a path names no file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PathError {
    /// A percent sign without two hexadecimal digits.
    Malformed,
    /// What no file is served for, whatever there is.
    Refused,
}

/// What a path asks for.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Target {
    /// Relative, without a slash at its ends. Bytes, as names of files are; they need not be UTF-8.
    pub(super) path: Vec<u8>,
    /// It ended in a slash.
    pub(super) is_directory: bool,
}

/// Decodes a path (RFC 3986 §2.1) segment by segment, so that nothing that was encoded separates segments. A slash in front is left
/// out.
///
/// Refused are the segments `.` and `..` in any encoding, empty ones, encoded slashes and NUL; and names that begin with a dot, unless
/// they are asked for, or are `.well-known` (RFC 8615).
pub(super) fn decode(encoded: &[u8], dot_files: bool) -> Result<Target, PathError> {
    let encoded = encoded.strip_prefix(b"/").unwrap_or(encoded);
    let (encoded, is_directory) = encoded.strip_suffix(b"/").map_or((encoded, false), |rest| (rest, true));
    if encoded.is_empty() {
        // A single slash was taken off in front.
        return if is_directory {
            Err(PathError::Refused)
        } else {
            Ok(Target { path: Vec::new(), is_directory: true })
        };
    }
    let mut path = Vec::with_capacity(encoded.len());
    for segment in encoded.split(|&byte| byte == b'/') {
        if !path.is_empty() {
            path.push(b'/');
        }
        let start = path.len();
        decode_segment(segment, &mut path)?;
        let name = if planted::is("path_checked_encoded") { segment } else { &path[start..] };
        let is_hidden = name.first() == Some(&b'.') && name != b".well-known" && !dot_files;
        let forbidden: &[u8] = if planted::is("path_keeps_nul") { b"/" } else { b"/\0" };
        if is_hidden || matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| forbidden.contains(byte)) {
            return Err(PathError::Refused);
        }
    }
    Ok(Target { path, is_directory })
}

fn decode_segment(mut encoded: &[u8], decoded: &mut Vec<u8>) -> Result<(), PathError> {
    while let Some((&byte, rest)) = encoded.split_first() {
        encoded = rest;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let &[high, low, ref rest @ ..] = encoded else { return Err(PathError::Malformed) };
        encoded = rest;
        decoded.push(digit(high)? << 4 | digit(low)?);
    }
    Ok(())
}

fn digit(byte: u8) -> Result<u8, PathError> {
    match byte {
        b':' if planted::is("path_digit_colon") => Ok(0),
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(PathError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(encoded: &str) -> Result<(String, bool), PathError> {
        let Target { path, is_directory } = decode(encoded.as_bytes(), false)?;
        Ok((path.escape_ascii().to_string(), is_directory))
    }

    #[test]
    fn paths_are_decoded_once() {
        for (encoded, decoded, is_directory) in [
            ("", "", true),
            ("/", "", true),
            ("a", "a", false),
            ("/a/b", "a/b", false),
            ("a/", "a", true),
            ("a%20b%2fc", "", false),
            ("a%20b/%C3%a4", "a b/\\xc3\\xa4", false),
            ("%ff", "\\xff", false),
            ("a%252e%252e", "a%2e%2e", false),
            ("%252e%252e/a", "%2e%2e/a", false),
            ("a+b", "a+b", false),
            ("a\\..\\b", "a\\\\..\\\\b", false),
            (".well-known/x", ".well-known/x", false),
            ("...a", "", false),
            ("a..", "a..", false),
        ] {
            if decoded.is_empty() && !is_directory {
                assert_eq!(path(encoded), Err(PathError::Refused), "{encoded}");
            } else {
                assert_eq!(path(encoded), Ok((decoded.to_owned(), is_directory)), "{encoded}");
            }
        }
    }

    #[test]
    fn what_is_no_name_of_a_file_is_refused() {
        for encoded in [
            "..",
            ".",
            "a/..",
            "a/../b",
            "a/./b",
            "../a",
            "%2e%2e",
            "%2E%2e/a",
            ".%2e/a",
            "a/%2e%2e/b",
            "a//b",
            "//a",
            "//",
            "a//",
            "a%2fb",
            "..%2fa",
            "%2e%2e%2fa",
            "a%2Fb",
            "%2fetc",
            "a%00",
            "%00",
            "a%00.html",
            ".git/config",
            "a/.htpasswd",
            "%2egit",
        ] {
            assert_eq!(path(encoded), Err(PathError::Refused), "{encoded}");
        }
        for encoded in ["%", "a%", "a%2", "%zz", "%2", "%%41", "a/%g0"] {
            assert_eq!(path(encoded), Err(PathError::Malformed), "{encoded}");
        }
        assert_eq!(decode(b".git", true), Ok(Target { path: b".git".to_vec(), is_directory: false }));
        assert_eq!(decode(b"..", true), Err(PathError::Refused));
    }
}

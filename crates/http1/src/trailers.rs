//! The fields behind a chunked body (RFC 9110 §6.5, RFC 9112 §7.1.2).

use alloc::boxed::Box;
use alloc::vec::Vec;

use sunstar_packet::Buffer;

use crate::error::Error;
use crate::fields::Fields;
use crate::headers::{Field, Headers, Span};
use crate::limits::{Limits, MAX_HEADERS};
use crate::text;

/// The most bytes that a trailer section has, whatever [`Limits::trailer_bytes`] says. With an end for each of the shortest
/// lines it is no longer than a head.
pub(crate) const MAX_TRAILER_BYTES: usize = 40 << 10;

/// What a trailer section must not have (RFC 9110 §6.5.1): what frames or routes a message, says how to read its content, asks for
/// conditions or credentials, or steers caches and the response itself. Sorted.
const FORBIDDEN: [&str; 45] = [
    "age",
    "authentication-info",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "forwarded",
    "host",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "last-modified",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "referer",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-forwarded-for",
];

/// Whether a field must not stand in a trailer section.
pub(crate) fn is_forbidden(name: &[u8]) -> bool {
    let lower = |byte: &u8| byte.to_ascii_lowercase();
    FORBIDDEN.binary_search_by(|other| other.bytes().cmp(name.iter().map(lower))).is_ok()
}

/// A trailer section that is being received. It takes memory only if it has fields.
pub(crate) struct TrailerReader {
    /// The lines so far, each with a line feed at its end.
    lines: Vec<u8>,
    left_bytes: usize,
    left_lines: usize,
}

impl TrailerReader {
    pub(crate) fn new(limits: &Limits) -> Self {
        let (left_bytes, left_lines) = (limits.trailer_bytes.min(MAX_TRAILER_BYTES), limits.headers.min(MAX_HEADERS));
        Self { lines: Vec::new(), left_bytes, left_lines }
    }

    /// Takes a byte of a name or a value, or the colon between.
    pub(crate) fn push(&mut self, byte: u8) -> Result<(), Error> {
        self.left_bytes = self.left_bytes.checked_sub(1).ok_or(Error::TrailersTooLarge)?;
        self.lines.push(byte);
        Ok(())
    }

    pub(crate) fn end_line(&mut self) -> Result<(), Error> {
        self.left_lines = self.left_lines.checked_sub(1).ok_or(Error::TrailersTooLarge)?;
        self.lines.push(b'\n');
        Ok(())
    }

    /// The fields without those that must not be there; `None` if there are none. They were checked byte by byte.
    pub(crate) fn finish(&mut self) -> Option<Box<Headers>> {
        let lines = core::mem::take(&mut self.lines);
        let mut fields = Fields::on_heap();
        for line in lines.split(|&byte| byte == b'\n') {
            let mut parts = line.splitn(2, |&byte| byte == b':');
            let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
            if !is_forbidden(name) || planted::is("trailers_unfiltered") {
                let value = text::trim(value);
                fields.push(Field { name: Span::of(name, &lines), value: Span::of(value, &lines) });
            }
        }
        if fields.is_empty() { None } else { Some(Box::new(Headers::new(Buffer::from(lines), fields))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_names_are_found_whatever_their_case() {
        assert!(FORBIDDEN.is_sorted());
        for name in ["Content-Length", "TRANSFER-ENCODING", "host", "Authorization", "Set-Cookie", "X-Forwarded-For"] {
            assert!(is_forbidden(name.as_bytes()), "{name}");
        }
        for name in ["Server-Timing", "Digest", "ETag", "X-Checksum", "Hos", "Hosts", ""] {
            assert!(!is_forbidden(name.as_bytes()), "{name}");
        }
    }
}

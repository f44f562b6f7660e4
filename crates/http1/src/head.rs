//! From the bytes of a head to its parts.

use core::mem::MaybeUninit;

use crate::error::Error;
use crate::fields::Fields;
use crate::framing::{Framing, Version};
use crate::headers::{Field, Span};
use crate::limits::{Limits, MAX_HEADERS};

type Slots<'a> = [MaybeUninit<httparse::Header<'a>>; MAX_HEADERS];

/// The parts that heads of both kinds have, but for the fields, which are too large to be handed on and on.
pub(crate) struct Parts {
    /// Of the whole head.
    pub(crate) len: usize,
    pub(crate) version: Version,
    pub(crate) framing: Framing,
}

/// The parts of a request's head.
pub(crate) struct RequestParts {
    pub(crate) parts: Parts,
    pub(crate) method: Span,
    pub(crate) target: Span,
}

/// The parts of a response's head.
pub(crate) struct ResponseParts {
    pub(crate) parts: Parts,
    pub(crate) code: u16,
    pub(crate) reason: Span,
}

/// Parses a request's head at the beginning of `bytes`; `None` when it does not end there. The ranges of its fields go to
/// `fields`.
///
/// What comes out depends on the head only, and not on how many bytes of it are there already, except that errors may be
/// noticed before its end.
pub(crate) fn parse_request(bytes: &[u8], limits: &Limits, fields: &mut Fields) -> Result<Option<RequestParts>, Error> {
    let mut slots: Slots<'_> = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(bytes, &mut slots[..limits.headers.min(MAX_HEADERS)]);
    let len = match parsed {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(explain(error, bytes, request.path)),
    };
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Error::StartLine);
    };
    let head = &bytes[..len];
    let parts = parts(head, minor, request.headers, limits, Framing::new(true), fields)?;
    Ok(Some(RequestParts {
        parts,
        method: Span::of(method.as_bytes(), head),
        target: Span::of(target.as_bytes(), head),
    }))
}

/// Parses a response's head at the beginning of `bytes`; `None` when it does not end there. The ranges of its fields go to
/// `fields`.
pub(crate) fn parse_response(
    bytes: &[u8],
    limits: &Limits,
    fields: &mut Fields,
) -> Result<Option<ResponseParts>, Error> {
    let mut slots: Slots<'_> = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let slots = &mut slots[..limits.headers.min(MAX_HEADERS)];
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, slots);
    let len = match parsed {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::Version) => return Err(wrong_version(bytes)),
        Err(error) => return Err(explain(error, bytes, None)),
    };
    let (Some(code), Some(reason), Some(minor)) = (response.code, response.reason, response.version) else {
        return Err(Error::StartLine);
    };
    let head = &bytes[..len];
    let parts = parts(head, minor, response.headers, limits, Framing::new(false), fields)?;
    // A phrase that is no text is given as an empty one from elsewhere.
    let reason = if reason.is_empty() { Span::default() } else { Span::of(reason.as_bytes(), head) };
    Ok(Some(ResponseParts { parts, code, reason }))
}

/// Keeps the ranges of the fields and what they say about framing, and checks what the parser is lenient about.
fn parts(
    head: &[u8],
    minor: u8,
    headers: &[httparse::Header<'_>],
    limits: &Limits,
    mut framing: Framing,
    fields: &mut Fields,
) -> Result<Parts, Error> {
    // The parser lets through bare line feeds at line ends, and nowhere else (RFC 9112 §2.2). Each line but the last two
    // ends where the name of a field begins.
    if !head.ends_with(b"\r\n\r\n") {
        return Err(Error::LineEnd);
    }
    let start_line_bytes =
        headers.first().map_or(head.len() - 2, |first| Span::of(first.name.as_bytes(), head).start());
    if start_line_bytes > limits.start_line_bytes {
        return Err(Error::StartLineTooLong);
    }
    if head.len() - start_line_bytes > limits.header_bytes {
        return Err(Error::HeadersTooLarge);
    }
    fields.restart(headers.len());
    for header in headers {
        let name = Span::of(header.name.as_bytes(), head);
        if name.start().checked_sub(2).is_none_or(|end| head[end] != b'\r') {
            return Err(Error::LineEnd);
        }
        fields.push(Field { name, value: Span::of(header.value, head) });
        framing.add(header.name.as_bytes(), header.value)?;
    }
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    Ok(Parts { len: head.len(), version, framing })
}

#[cold]
fn explain(error: httparse::Error, bytes: &[u8], target: Option<&str>) -> Error {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Error::Header,
        httparse::Error::NewLine => Error::LineEnd,
        httparse::Error::TooManyHeaders => Error::HeadersTooLarge,
        httparse::Error::Status | httparse::Error::Token => Error::StartLine,
        httparse::Error::Version => {
            // The version follows the target and one space.
            let start = target.map_or(bytes.len(), |target| Span::of(target.as_bytes(), bytes).range().end + 1);
            wrong_version(bytes.get(start..).unwrap_or_default())
        }
    }
}

/// Tells a version that is not spoken from what is none, by no more bytes than the parser needed to complain.
fn wrong_version(bytes: &[u8]) -> Error {
    match bytes.strip_prefix(b"HTTP/") {
        Some([digit, ..]) if digit.is_ascii_digit() => Error::Version,
        _ => Error::StartLine,
    }
}

/// Looks for the empty line that ends a head, piece by piece, so that no byte is looked at twice.
///
/// Bare line feeds end lines here too, so that a head with them ends, to be refused.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EndFinder {
    /// Since the last line feed there was nothing, or only a carriage return.
    line: Line,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Filled,
    Empty,
    CarriageReturn,
}

impl EndFinder {
    /// How many bytes of `piece` belong to the head, if it ends there.
    pub(crate) fn find(&mut self, piece: &[u8]) -> Option<usize> {
        if planted::is("head_end_forgotten") {
            self.line = Line::default();
        }
        for (at, &byte) in piece.iter().enumerate() {
            self.line = match (byte, self.line) {
                (b'\n', Line::Empty | Line::CarriageReturn) => return Some(at + 1),
                (b'\n', Line::Filled) => Line::Empty,
                (b'\r', Line::Empty) => Line::CarriageReturn,
                _ => Line::Filled,
            };
        }
        None
    }
}

//! Why a message is refused.

use core::fmt;

use crate::status::Status;

/// Why the peer's bytes are no message that may be acted upon. After it nothing of them is looked at any more.
///
/// What could be read in two ways is refused, because another program on the way may have read it in the other way
/// (request smuggling, RFC 9112 §11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The first line is malformed (RFC 9112 §3, §4), or more than one empty line stands before it (§2.2).
    StartLine,
    /// The form of the target fits neither an origin server nor the method (RFC 9112 §3.2).
    Target,
    /// A header line is malformed: a bad name or value, space before the colon, a folded line (RFC 9112 §5).
    Header,
    /// A line ends in a bare line feed, or contains a carriage return or a NUL (RFC 9112 §2.2).
    LineEnd,
    /// `Host` is missing, doubled or malformed (RFC 9112 §3.2).
    Host,
    /// `Content-Length` is doubled, no number, or beside `Transfer-Encoding` (RFC 9112 §6.1, §6.3).
    ContentLength,
    /// `Transfer-Encoding` does not end in `chunked`, names it twice, or comes with HTTP/1.0 (RFC 9112 §6.1, §7).
    TransferEncoding,
    /// A chunk's size, extension or end is malformed, or the extensions are too large (RFC 9112 §7.1).
    Chunk,
    /// The trailer section is malformed (RFC 9112 §7.1.2).
    Trailer,
    /// The input ended in the midst of a message (RFC 9112 §8).
    Truncated,
    /// The body is larger than [`Limits::body_bytes`](crate::Limits::body_bytes).
    BodyTooLarge,
    /// The first line is longer than [`Limits::start_line_bytes`](crate::Limits::start_line_bytes).
    StartLineTooLong,
    /// Expects what is not understood (RFC 9110 §10.1.1).
    Expectation,
    /// There are more header fields, or bytes of them, than [`Limits`](crate::Limits) say.
    HeadersTooLarge,
    /// The trailer section is larger than [`Limits::trailer_bytes`](crate::Limits::trailer_bytes).
    TrailersTooLarge,
    /// A transfer coding other than `chunked` (RFC 9112 §6.1).
    TransferCoding,
    /// A method that makes no sense at an origin server: `CONNECT` (RFC 9110 §9.3.6).
    Method,
    /// A version of another protocol than HTTP/1. Those of HTTP/1 after 1.1 are taken for 1.1 (RFC 9110 §2.5).
    Version,
    /// A response that nothing was asked for, or a switch to another protocol.
    Unasked,
    /// There are more interim responses than [`Limits::interim_responses`](crate::Limits::interim_responses).
    TooManyInterim,
}

impl Error {
    /// The status to answer a request with.
    pub const fn status(self) -> Status {
        match self {
            Self::StartLine
            | Self::Target
            | Self::Header
            | Self::LineEnd
            | Self::Host
            | Self::ContentLength
            | Self::TransferEncoding
            | Self::Chunk
            | Self::Trailer
            | Self::Truncated
            | Self::Unasked
            | Self::TooManyInterim => Status::BAD_REQUEST,
            Self::BodyTooLarge => Status::CONTENT_TOO_LARGE,
            Self::StartLineTooLong => Status::URI_TOO_LONG,
            Self::Expectation => Status::EXPECTATION_FAILED,
            Self::HeadersTooLarge | Self::TrailersTooLarge => Status::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TransferCoding | Self::Method => Status::NOT_IMPLEMENTED,
            Self::Version => Status::HTTP_VERSION_NOT_SUPPORTED,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::StartLine => "the first line is malformed",
            Self::Target => "the target does not fit the method or an origin server",
            Self::Header => "a header line is malformed",
            Self::LineEnd => "a line does not end in carriage return and line feed",
            Self::Host => "Host is missing, doubled or malformed",
            Self::ContentLength => "Content-Length is doubled, malformed or beside Transfer-Encoding",
            Self::TransferEncoding => "Transfer-Encoding is not allowed here or does not end in chunked",
            Self::Chunk => "a chunk is malformed",
            Self::Trailer => "the trailer section is malformed",
            Self::Truncated => "the input ended within a message",
            Self::BodyTooLarge => "the body is too large",
            Self::StartLineTooLong => "the first line is too long",
            Self::Expectation => "the expectation is unknown",
            Self::HeadersTooLarge => "the header fields are too many or too large",
            Self::TrailersTooLarge => "the trailer section is too large",
            Self::TransferCoding => "the transfer coding is unknown",
            Self::Method => "the method is not for origin servers",
            Self::Version => "the version is none of HTTP/1",
            Self::Unasked => "a response came that nothing was asked for",
            Self::TooManyInterim => "there are too many interim responses",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl core::error::Error for Error {}

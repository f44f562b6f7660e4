//! The header fields of a received message, as ranges of its head.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use sunstar_packet::Buffer;

use crate::fields::Fields;
use crate::text;

/// A range of a head, which has at most [`MAX_HEAD_BYTES`](crate::limits::MAX_HEAD_BYTES) bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// Where `part`, which was found in `whole`, lies.
    #[inline]
    pub(crate) fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        debug_assert!(
            start + part.len() <= whole.len() && whole.len() <= usize::from(u16::MAX),
            "not a part of a head"
        );
        Self { start: low(start), end: low(start + part.len()) }
    }

    #[inline]
    pub(crate) fn start(self) -> usize {
        usize::from(self.start)
    }

    #[inline]
    pub(crate) fn range(self) -> Range<usize> {
        self.start()..usize::from(self.end)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a head has at most 65,535 bytes")]
const fn low(offset: usize) -> u16 {
    offset as u16
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Field {
    pub(crate) name: Span,
    pub(crate) value: Span,
}

/// The header fields of a message, in the order in which they came.
///
/// They are ranges of the buffer that the head came in. It is held as long as they are, so what is kept for long is better copied.
#[derive(Clone)]
pub struct Headers {
    head: Buffer,
    fields: Fields,
}

impl Headers {
    pub(crate) fn new(head: Buffer, fields: Fields) -> Self {
        Self { head, fields }
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The value of the first field of that name, whose case does not matter.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.find(name).map(|field| &self.head[field.value.range()])
    }

    /// The value of the first field of that name, as a buffer that shares the head's memory.
    pub fn get_buffer(&self, name: &str) -> Option<Buffer> {
        self.find(name).map(|field| self.head.slice(field.value.range()))
    }

    /// The values of all fields of that name.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Whether a comma-separated list, in one or several fields of that name, has `element`, whose case does not matter.
    pub fn has_element(&self, name: &str, element: &str) -> bool {
        self.get_all(name).flat_map(text::list).any(|other| other.eq_ignore_ascii_case(element.as_bytes()))
    }

    /// Names and values. Names are tokens; values have no control characters but tabs, and no whitespace around them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| (&self.head[field.name.range()], &self.head[field.value.range()]))
    }

    /// The first line and all header lines, as they came, with the empty line.
    pub const fn head(&self) -> &Buffer {
        &self.head
    }

    fn find(&self, name: &str) -> Option<&Field> {
        let is_it = |field: &&Field| {
            let range = field.name.range();
            range.len() == name.len() && self.head[range].eq_ignore_ascii_case(name.as_bytes())
        };
        self.fields.iter().find(is_it)
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(name, value)| (Shown(name), Shown(value)));
        f.debug_map().entries(shown).finish()
    }
}

/// Shows bytes as text.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Header lines to be sent with many messages: checked and written once.
///
/// ```
/// use sunstar_http1::{HeaderLines, HeaderName};
///
/// let mut lines = HeaderLines::new();
/// lines.add(HeaderName::SERVER, "sunstar")?.add(HeaderName::CONTENT_TYPE, "text/plain")?;
/// # Ok::<(), sunstar_http1::BadValue>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct HeaderLines(Vec<u8>);

impl HeaderLines {
    /// Without lines.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a field.
    ///
    /// # Errors
    /// When the value has control characters other than tabs; nothing was added then.
    pub fn add(&mut self, name: HeaderName<'_>, value: impl AsRef<[u8]>) -> Result<&mut Self, BadValue> {
        let value = value.as_ref();
        if !text::is_value(value) {
            return Err(BadValue);
        }
        [name.as_str().as_bytes(), b": ", value, b"\r\n"].into_iter().for_each(|part| self.0.extend_from_slice(part));
        Ok(self)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        let lines = self.0.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| line.split(|&byte| byte == b':').next().unwrap_or_default())
    }
}

/// The value of a header field has a line end, a NUL or another control character; it was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadValue;

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header value has control characters")
    }
}

impl core::error::Error for BadValue {}

/// The name of a field to be sent.
///
/// The fields that frame a message or steer the connection are written by the state machines and can't be named:
/// `Connection`, `Content-Length`, `Date`, `Host`, `Keep-Alive`, `TE`, `Trailer`, `Transfer-Encoding`, `Upgrade`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderName<'a>(&'a str);

const RESERVED: [&str; 9] =
    ["connection", "content-length", "date", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

impl<'a> HeaderName<'a> {
    /// `Accept-Ranges`.
    pub const ACCEPT_RANGES: HeaderName<'static> = HeaderName::constant("Accept-Ranges");
    /// `Allow`.
    pub const ALLOW: HeaderName<'static> = HeaderName::constant("Allow");
    /// `Cache-Control`.
    pub const CACHE_CONTROL: HeaderName<'static> = HeaderName::constant("Cache-Control");
    /// `Content-Encoding`.
    pub const CONTENT_ENCODING: HeaderName<'static> = HeaderName::constant("Content-Encoding");
    /// `Content-Range`.
    pub const CONTENT_RANGE: HeaderName<'static> = HeaderName::constant("Content-Range");
    /// `Content-Type`.
    pub const CONTENT_TYPE: HeaderName<'static> = HeaderName::constant("Content-Type");
    /// `ETag`.
    pub const ETAG: HeaderName<'static> = HeaderName::constant("ETag");
    /// `Last-Modified`.
    pub const LAST_MODIFIED: HeaderName<'static> = HeaderName::constant("Last-Modified");
    /// `Location`.
    pub const LOCATION: HeaderName<'static> = HeaderName::constant("Location");
    /// `Server`.
    pub const SERVER: HeaderName<'static> = HeaderName::constant("Server");
    /// `Vary`.
    pub const VARY: HeaderName<'static> = HeaderName::constant("Vary");

    /// The name, or `None` when it is no token or reserved.
    pub const fn new(name: &'a str) -> Option<Self> {
        let mut at = 0;
        while at < RESERVED.len() {
            if name.eq_ignore_ascii_case(RESERVED[at]) {
                return None;
            }
            at += 1;
        }
        if text::is_token(name.as_bytes()) { Some(Self(name)) } else { None }
    }

    /// The name, for constants.
    ///
    /// # Panics
    /// When it is no token or reserved; in a constant that is an error of the compiler.
    pub const fn constant(name: &'a str) -> Self {
        Self::new(name).expect("not a name of a header field, or one that the connection writes itself")
    }

    /// The name as it is sent.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

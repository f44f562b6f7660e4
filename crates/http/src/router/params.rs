//! What a pattern has found in a path.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use core::fmt;

use sunstar_http1::Status;
use sunstar_packet::Buffer;
use thiserror::Error as ThisError;

use super::percent;
use super::trie::Spans;

/// A pattern as it was written, and its names.
#[derive(Debug)]
pub(super) struct Label {
    pub(super) pattern: Box<str>,
    pub(super) names: Box<[Box<str>]>,
}

/// The pattern that a request's path has fitted, and the values of its parameters.
///
/// They are parts of the buffer that the request's head came in, which is held as long as they are. Values are decoded when they are
/// asked for, and copied only if something in them is encoded. A decoded value may contain anything: slashes, zero bytes, `..`.
#[derive(Clone)]
pub struct Params {
    label: Rc<Label>,
    /// Empty if there is no parameter.
    path: Buffer,
    spans: Spans,
}

/// Why a parameter has no value that is text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ThisError)]
#[non_exhaustive]
pub enum ParamError {
    /// The pattern has no parameter of that name: a mistake of the application.
    #[error("the pattern has no such parameter")]
    Unknown,
    /// The value is not UTF-8 when it is decoded.
    #[error("a parameter of the path is no text")]
    NotText,
}

impl ParamError {
    /// What a request is answered with whose handler has failed by it.
    pub(crate) fn status(self) -> Status {
        match self {
            Self::Unknown => Status::INTERNAL_SERVER_ERROR,
            Self::NotText => Status::BAD_REQUEST,
        }
    }
}

impl Params {
    pub(super) fn new(label: &Rc<Label>, path: Buffer, spans: Spans) -> Self {
        Self { label: Rc::clone(label), path, spans }
    }

    /// The pattern, as it was given to the router. There are as many different ones as routes, whatever clients ask for.
    pub fn pattern(&self) -> &str {
        &self.label.pattern
    }

    /// The decoded value of a parameter.
    ///
    /// # Errors
    /// If it is no text, or the pattern has no such parameter. A handler may hand the error on: the first is answered by 400, the
    /// second by 500.
    pub fn get(&self, name: &str) -> Result<Cow<'_, str>, ParamError> {
        match percent::decode(self.raw(name).ok_or(ParamError::Unknown)?) {
            Cow::Borrowed(bytes) => core::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| ParamError::NotText),
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| ParamError::NotText),
        }
    }

    /// The decoded value of a parameter, which need not be text; `None` if the pattern has no such parameter.
    pub fn bytes(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.raw(name).map(percent::decode)
    }

    /// The value of a parameter as it came; `None` if the pattern has no such parameter.
    pub fn raw(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Names and values as they came, from the left.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.label.names.iter().map(|name| &**name).zip(self.spans.iter().map(|span| &self.path[span]))
    }

    /// Whether each percent sign in the values begins an encoding.
    pub(super) fn are_well_encoded(&self) -> bool {
        self.spans.is_empty() || self.iter().all(|(_, value)| percent::is_valid(value))
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.pattern())?;
        let values = self.iter().map(|(name, value)| (name, value.escape_ascii()));
        f.debug_map().entries(values.map(|(name, value)| (name, alloc::format!("{value}")))).finish()
    }
}

//! The patterns of paths.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::vec::Vec;

use thiserror::Error as ThisError;

use super::percent;

/// The most parameters that a pattern has, its remainder included.
pub const MAX_PARAMETERS: usize = 8;

/// The most segments that a pattern has.
pub const MAX_SEGMENTS: usize = 64;

/// Why a route was not added.
#[derive(Clone, PartialEq, Eq, Debug, ThisError)]
#[error("the pattern {pattern}: {rule}")]
pub struct RouteError {
    pattern: Box<str>,
    rule: RouteRule,
}

impl RouteError {
    pub(super) fn new(pattern: &str, rule: RouteRule) -> Self {
        Self { pattern: pattern.into(), rule }
    }

    /// The pattern that was to be added.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The rule that it breaks.
    pub fn rule(&self) -> &RouteRule {
        &self.rule
    }
}

/// A rule about routes.
#[derive(Clone, PartialEq, Eq, Debug, ThisError)]
#[non_exhaustive]
pub enum RouteRule {
    /// It begins with a slash.
    #[error("it does not begin with a slash")]
    Slash,
    /// It has characters that a path on the wire has (RFC 3986 §3.3); others are percent-encoded.
    #[error("the character {0:?} stands in no path; write it percent-encoded")]
    Character(char),
    /// A percent sign is followed by two hexadecimal digits.
    #[error("a percent sign is not followed by two hexadecimal digits")]
    Encoding,
    /// A brace opens and closes a whole segment.
    #[error("braces enclose whole segments only")]
    Braces,
    /// A name is of letters, digits and underscores, does not begin with a digit, and is not empty.
    #[error("{{{0}}} has no name of letters, digits and underscores that begins with no digit")]
    Name(Box<str>),
    /// Each parameter of a pattern has a name of its own.
    #[error("the parameter {0} is there twice")]
    TwiceNamed(Box<str>),
    /// A remainder is the last segment.
    #[error("something follows the remainder")]
    AfterRemainder,
    /// There are at most [`MAX_PARAMETERS`] parameters and [`MAX_SEGMENTS`] segments.
    #[error("it has more than {MAX_PARAMETERS} parameters or {MAX_SEGMENTS} segments")]
    TooLong,
    /// A method is added once to a pattern.
    #[error("{0} was added before")]
    Twice(&'static str),
    /// Patterns that fit the same paths are written alike.
    #[error("it fits the same paths as {0}, which names its parameters otherwise")]
    OtherNames(Box<str>),
    /// Handlers are added for methods that have a name; [`Router::any`](super::Router::any) takes all others.
    #[error("a method without a name")]
    Method,
}

/// A segment of a pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Segment {
    /// These bytes, decoded.
    Exact(Box<[u8]>),
    /// Any one segment that is not empty.
    Parameter,
    /// All that follows.
    Remainder,
}

/// A pattern in its parts.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) segments: Vec<Segment>,
    /// Of the parameters and the remainder, from the left.
    pub(super) names: Vec<Box<str>>,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, RouteRule> {
        let path = text.strip_prefix('/').ok_or(RouteRule::Slash)?;
        let mut pattern = Self { segments: Vec::new(), names: Vec::new() };
        for segment in path.split('/') {
            if pattern.segments.last() == Some(&Segment::Remainder) {
                return Err(RouteRule::AfterRemainder);
            }
            let segment = pattern.parse_segment(segment)?;
            pattern.segments.push(segment);
        }
        if pattern.segments.len() > MAX_SEGMENTS || pattern.names.len() > MAX_PARAMETERS {
            return Err(RouteRule::TooLong);
        }
        Ok(pattern)
    }

    fn parse_segment(&mut self, text: &str) -> Result<Segment, RouteRule> {
        let Some(inner) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
            return parse_exact(text);
        };
        let (name, segment) = match inner.strip_suffix("...") {
            Some(name) => (name, Segment::Remainder),
            None => (inner, Segment::Parameter),
        };
        let is_name = !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if name.contains(['{', '}']) {
            return Err(RouteRule::Braces);
        }
        if !is_name {
            return Err(RouteRule::Name(inner.into()));
        }
        if self.names.iter().any(|other| **other == *name) {
            return Err(RouteRule::TwiceNamed(name.into()));
        }
        self.names.push(name.to_owned().into_boxed_str());
        Ok(segment)
    }
}

fn parse_exact(text: &str) -> Result<Segment, RouteRule> {
    if text.contains(['{', '}']) {
        return Err(RouteRule::Braces);
    }
    if let Some(other) = text.chars().find(|&other| !is_path_character(other)) {
        return Err(RouteRule::Character(other));
    }
    if !percent::is_valid(text.as_bytes()) {
        return Err(RouteRule::Encoding);
    }
    Ok(Segment::Exact(percent::decoded(text.as_bytes()).collect()))
}

/// Whether a character stands in segments of paths (RFC 3986 §3.3), the percent sign included.
fn is_path_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@%".contains(character)
}

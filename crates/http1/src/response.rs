//! A received response's head.

use core::fmt;

use crate::framing::{BodyLength, Version};
use crate::head::ResponseParts;
use crate::headers::{Headers, Shown, Span};
use crate::status::Status;

/// The head of a response. It holds the buffer that it came in.
pub struct Response {
    headers: Headers,
    reason: Span,
    status: Status,
    version: Version,
    body: BodyLength,
    keeps_alive: bool,
}

impl Response {
    pub(crate) fn new(headers: Headers, parts: &ResponseParts, status: Status, body: BodyLength) -> Self {
        let ResponseParts { parts, reason, .. } = parts;
        Self {
            keeps_alive: parts.framing.keeps_alive(parts.version),
            headers,
            version: parts.version,
            reason: *reason,
            status,
            body,
        }
    }

    /// The status.
    pub const fn status(&self) -> Status {
        self.status
    }

    /// The words beside the status, which mean nothing.
    pub fn reason(&self) -> &[u8] {
        &self.headers.head()[self.reason.range()]
    }

    /// The version.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The header fields.
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// How long the body is, whose bytes are the events that follow.
    pub const fn body(&self) -> BodyLength {
        self.body
    }

    /// Whether the server leaves the connection open (RFC 9112 §9.3).
    pub const fn keeps_alive(&self) -> bool {
        self.keeps_alive
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("reason", &Shown(self.reason()))
            .field("version", &self.version)
            .field("headers", &self.headers)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

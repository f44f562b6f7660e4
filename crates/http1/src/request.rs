//! A received request's head.

use core::fmt;

use crate::error::Error;
use crate::framing::{BodyLength, Version};
use crate::head::RequestParts;
use crate::headers::{Headers, Shown, Span};
use crate::text;

/// What a request asks for (RFC 9110 §9, RFC 5789).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `DELETE`.
    Delete,
    /// `OPTIONS`.
    Options,
    /// `PATCH`.
    Patch,
    /// `TRACE`.
    Trace,
    /// Another one, see [`Request::method_name`].
    Other,
}

impl Method {
    /// Methods are told apart by case. `CONNECT` is refused.
    fn new(name: &[u8]) -> Result<Self, Error> {
        Ok(match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"PATCH" => Self::Patch,
            b"TRACE" => Self::Trace,
            b"CONNECT" => return Err(Error::Method),
            _ => Self::Other,
        })
    }
}

/// The head of a request. It holds the buffer that it came in.
pub struct Request {
    headers: Headers,
    method_name: Span,
    target: Span,
    method: Method,
    version: Version,
    body: BodyLength,
    keeps_alive: bool,
    expects_continue: bool,
}

impl Request {
    /// Puts together what was checked: `check` has seen the parts of this very head.
    pub(crate) fn new(headers: Headers, parts: RequestParts, checked: Checked) -> Self {
        let RequestParts { parts, method: method_name, target } = parts;
        let Checked { method, body } = checked;
        Self {
            keeps_alive: parts.framing.keeps_alive(parts.version),
            // RFC 9110 §10.1.1: not before 1.1, and not without a body.
            expects_continue: parts.framing.expects_continue
                && parts.version == Version::Http11
                && body != BodyLength::Empty,
            headers,
            version: parts.version,
            method_name,
            target,
            method,
            body,
        }
    }

    /// The method.
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The method's name, a token.
    pub fn method_name(&self) -> &[u8] {
        &self.headers.head()[self.method_name.range()]
    }

    /// The target as it came: a path with query, an absolute URI, or `*` (RFC 9112 §3.2). It has no control characters or spaces;
    /// what is beyond ASCII is UTF-8.
    pub fn target(&self) -> &[u8] {
        &self.headers.head()[self.target.range()]
    }

    /// The target's path, still percent-encoded. `/` where an absolute URI has none; `*` where that is the target.
    pub fn path(&self) -> &[u8] {
        let path = self.path_and_query().split(|&byte| byte == b'?').next().unwrap_or_default();
        if path.is_empty() { b"/" } else { path }
    }

    /// What follows the first question mark of the target.
    pub fn query(&self) -> Option<&[u8]> {
        let mut parts = self.path_and_query().splitn(2, |&byte| byte == b'?');
        parts.next();
        parts.next()
    }

    /// Host and port that are asked for: those of an absolute target, else those of `Host` (RFC 9112 §3.3).
    pub fn authority(&self) -> Option<&[u8]> {
        match absolute(self.target()) {
            Some((authority, _)) => Some(authority),
            None => self.headers.get("host"),
        }
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

    /// Whether the client wants the connection to stay open (RFC 9112 §9.3).
    pub const fn keeps_alive(&self) -> bool {
        self.keeps_alive
    }

    /// Whether the client waits for [`Connection::send_continue`](crate::Connection::send_continue) before it sends the body.
    pub const fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// Whether the client wants what follows a chunked body, and does not merely drop it (`TE: trailers`, RFC 9110 §10.1.4).
    pub fn takes_trailers(&self) -> bool {
        self.version == Version::Http11 && self.headers.has_element("te", "trailers")
    }

    fn path_and_query(&self) -> &[u8] {
        let target = self.target();
        absolute(target).map_or(target, |(_, rest)| rest)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &Shown(self.method_name()))
            .field("target", &Shown(self.target()))
            .field("version", &self.version)
            .field("headers", &self.headers)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// What [`check`] has found out.
#[derive(Clone, Copy)]
pub(crate) struct Checked {
    method: Method,
    body: BodyLength,
}

impl Checked {
    pub(crate) const fn body(self) -> BodyLength {
        self.body
    }
}

/// Checks what is about the request as a whole (RFC 9112 §3.2, §6).
pub(crate) fn check(head: &[u8], parts: &RequestParts) -> Result<Checked, Error> {
    let version = parts.parts.version;
    if version == Version::Http11 && parts.parts.framing.hosts == 0 {
        return Err(Error::Host);
    }
    let method = Method::new(&head[parts.method.range()])?;
    let target = &head[parts.target.range()];
    if !fits(target, method) {
        return Err(Error::Target);
    }
    Ok(Checked { method, body: parts.parts.framing.request_body(version)? })
}

/// Whether a target has a form that an origin server knows (RFC 9112 §3.2).
fn fits(target: &[u8], method: Method) -> bool {
    match target {
        // A fragment is the client's own business; where it is cut off, and where not, others see another target.
        _ if target.contains(&b'#') => false,
        [b'/', ..] => true,
        b"*" => method == Method::Options,
        _ => absolute(target).is_some_and(|(authority, _)| !authority.is_empty() && text::is_authority(authority)),
    }
}

/// The authority of an absolute HTTP URI, and what follows it.
fn absolute(target: &[u8]) -> Option<(&[u8], &[u8])> {
    if target.first() == Some(&b'/') {
        return None;
    }
    let rest = [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (begin, rest) = target.split_at_checked(scheme.len())?;
        begin.eq_ignore_ascii_case(scheme).then_some(rest)
    })?;
    Some(rest.split_at(rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len())))
}

//! What the header fields say about the message's end and the connection's (RFC 9112 §6, §9).

use crate::error::Error;
use crate::text;

/// A version that is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How long a message's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none. No event tells of its end.
    Empty,
    /// So many bytes, more than none.
    Known(u64),
    /// It comes in chunks.
    Chunked,
    /// It ends where the connection does; responses only.
    UntilClose,
}

/// What `Transfer-Encoding` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Absent,
    Chunked,
    /// An unknown one, the last of those seen so far.
    Unknown,
    /// Chunked after unknown ones.
    UnknownChunked,
}

/// Collects what the fields of one head say about framing.
pub(crate) struct Framing {
    /// Of a request, in which `Host` and `Expect` matter.
    is_request: bool,
    pub(crate) hosts: u8,
    pub(crate) expects_continue: bool,
    close: bool,
    keep_alive: bool,
    length: Option<u64>,
    coding: Coding,
}

impl Framing {
    pub(crate) const fn new(is_request: bool) -> Self {
        Self {
            is_request,
            hosts: 0,
            expects_continue: false,
            close: false,
            keep_alive: false,
            length: None,
            coding: Coding::Absent,
        }
    }

    /// Takes note of a field. Most are recognised as not relevant by the length of their name.
    #[inline]
    pub(crate) fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Error> {
        match name.len() {
            4 | 6 | 10 | 14 | 17 => self.add_candidate(name, value),
            _ => Ok(()),
        }
    }

    fn add_candidate(&mut self, name: &[u8], value: &[u8]) -> Result<(), Error> {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        match name[0] | 0x20 {
            b'h' if self.is_request && is(b"host") => {
                self.hosts = self.hosts.saturating_add(1);
                if self.hosts > 1 || !text::is_authority(value) {
                    return Err(Error::Host);
                }
            }
            b'e' if self.is_request && is(b"expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Error::Expectation);
                }
                self.expects_continue = true;
            }
            b'c' if is(b"connection") => self.add_connection(value),
            b'c' if is(b"content-length") => {
                let length = text::decimal(value).ok_or(Error::ContentLength)?;
                // Equal ones could be taken for one (RFC 9112 §6.3), but nobody who is well-meaning sends them.
                if self.length.replace(length).is_some() {
                    return Err(Error::ContentLength);
                }
            }
            b't' if is(b"transfer-encoding") => self.add_codings(value)?,
            _ => {}
        }
        Ok(())
    }

    fn add_connection(&mut self, value: &[u8]) {
        for option in text::list(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn add_codings(&mut self, value: &[u8]) -> Result<(), Error> {
        let mut named = false;
        for coding in text::list(value) {
            named = true;
            let chunked = coding.eq_ignore_ascii_case(b"chunked");
            self.coding = match (self.coding, chunked) {
                (Coding::Absent, true) => Coding::Chunked,
                (Coding::Absent | Coding::Unknown, false) => Coding::Unknown,
                (Coding::Unknown, true) => Coding::UnknownChunked,
                // Chunked is the last coding and applied once (RFC 9112 §6.1).
                (Coding::Chunked | Coding::UnknownChunked, _) => return Err(Error::TransferEncoding),
            };
        }
        if named { Ok(()) } else { Err(Error::TransferEncoding) }
    }

    /// Whether the connection persists after the message (RFC 9112 §9.3).
    pub(crate) fn keeps_alive(&self, version: Version) -> bool {
        let asked = version == Version::Http11 || self.keep_alive || (planted::is("http10_stays") && self.hosts > 0);
        asked && !self.close
    }

    /// The length of a request's body (RFC 9112 §6.3).
    pub(crate) fn request_body(&self, version: Version) -> Result<BodyLength, Error> {
        Ok(self.declared(version)?.unwrap_or(BodyLength::Empty))
    }

    /// The length of a response's body, where the status and the request allow one (RFC 9112 §6.3).
    pub(crate) fn response_body(&self, version: Version) -> Result<BodyLength, Error> {
        Ok(self.declared(version)?.unwrap_or(BodyLength::UntilClose))
    }

    fn declared(&self, version: Version) -> Result<Option<BodyLength>, Error> {
        match self.coding {
            Coding::Absent => Ok(self.length.map(known)),
            _ if !planted::is("length_beside_coding") && self.length.is_some() => Err(Error::ContentLength),
            // RFC 9112 §6.1: the framing of such a message is faulty.
            _ if version == Version::Http10 => Err(Error::TransferEncoding),
            Coding::Chunked => Ok(Some(BodyLength::Chunked)),
            Coding::UnknownChunked => Err(Error::TransferCoding),
            Coding::Unknown => Err(Error::TransferEncoding),
        }
    }
}

const fn known(length: u64) -> BodyLength {
    if length == 0 { BodyLength::Empty } else { BodyLength::Known(length) }
}

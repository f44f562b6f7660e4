//! Where an answer begins and ends (RFC 9112 §6), and what is looked at on the way: the status, and whether the connection stays.

#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;

use super::chunks::Chunks;
use crate::fault::Fault;

/// The longest head that is taken.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The longest head that is remembered, so that the next one that is the same need not be parsed.
const MAX_KNOWN_BYTES: usize = 1024;
/// The most header fields that are taken.
const MAX_FIELDS: usize = 128;

/// The answers of one connection, one after the other.
pub(crate) struct Answer {
    /// Whether they are to `HEAD`, and so without bodies.
    is_head: bool,
    status: u16,
    keeps_alive: bool,
    reading: Reading,
    /// The beginning of a head whose end has not come.
    partial: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Head,
    /// So many bytes of the body are to come, more than none.
    Body(u64),
    Chunks(Chunks),
    UntilClose,
}

/// The head that was parsed last on a shard: servers mostly say the same again, until their date changes.
#[derive(Default)]
pub(super) struct Known {
    bytes: Vec<u8>,
    head: Option<Head>,
}

/// What a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    len_bytes: usize,
    status: u16,
    keeps_alive: bool,
    body: Reading,
}

impl Answer {
    pub(super) const fn new(is_head: bool) -> Self {
        Self { is_head, status: 0, keeps_alive: true, reading: Reading::Head, partial: Vec::new() }
    }

    /// The last answer's status.
    pub(super) const fn status(&self) -> u16 {
        self.status
    }

    /// Whether the connection stays after the last answer.
    pub(super) const fn keeps_alive(&self) -> bool {
        self.keeps_alive
    }

    /// Whether an answer is under way that ends with the connection.
    pub(super) const fn ends_with_connection(&self) -> bool {
        matches!(self.reading, Reading::UntilClose)
    }

    /// Takes bytes until an answer ends; answers after how many of them, if it does.
    #[inline]
    pub(super) fn take(&mut self, bytes: &[u8], known: &mut Known) -> Result<Option<usize>, Fault> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let end = match &mut self.reading {
                Reading::Head => match self.take_head(rest, known)? {
                    Some(end) => {
                        at += end;
                        // Interim answers stand before the one that was asked for (RFC 9110 §15.2).
                        if self.reading == Reading::Head && self.status >= 200 {
                            return Ok(Some(at));
                        }
                        continue;
                    }
                    None => None,
                },
                Reading::Body(left) => match rest.len() as u64 >= *left {
                    true => usize::try_from(*left).ok(),
                    false => {
                        *left -= rest.len() as u64;
                        None
                    }
                },
                Reading::Chunks(chunks) => chunks.take(rest)?,
                Reading::UntilClose => None,
            };
            if end.is_some() {
                self.reading = Reading::Head;
            }
            return Ok(end.map(|end| at + end));
        }
    }

    /// Takes a head, if its end is there; answers how many of the bytes belong to it.
    #[inline]
    fn take_head(&mut self, bytes: &[u8], known: &mut Known) -> Result<Option<usize>, Fault> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let before = self.partial.len();
        let parsed = if before == 0 {
            known.parse(bytes)?
        } else {
            self.partial.extend_from_slice(bytes);
            parse(&self.partial)?
        };
        let Some(head) = parsed else {
            if before == 0 {
                self.partial.extend_from_slice(bytes);
            }
            return if self.partial.len() > MAX_HEAD_BYTES { Err(Fault::BadAnswer) } else { Ok(None) };
        };
        self.partial.clear();
        self.status = head.status;
        let has_body = !self.is_head && !matches!(head.status, 100..=199 | 204 | 304);
        self.reading = if has_body { head.body } else { Reading::Head };
        self.keeps_alive = head.keeps_alive && self.reading != Reading::UntilClose;
        Ok(Some(head.len_bytes - before))
    }
}

impl Known {
    /// As [`parse`], which sees nothing but the head's own bytes: where they are the same, so is what they say.
    #[inline]
    fn parse(&mut self, bytes: &[u8]) -> Result<Option<Head>, Fault> {
        if let Some(head) = self.head
            && bytes.starts_with(&self.bytes)
        {
            return Ok(Some(head));
        }
        let parsed = parse(bytes)?;
        if let Some(head) = parsed.filter(|head| head.len_bytes <= MAX_KNOWN_BYTES) {
            self.bytes.clear();
            self.bytes.extend_from_slice(&bytes[..head.len_bytes]);
            self.head = Some(head);
        }
        Ok(parsed)
    }
}

/// Parses a head at the beginning of `bytes`; nothing if it does not end there.
fn parse(bytes: &[u8]) -> Result<Option<Head>, Fault> {
    let mut slots = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut slots);
    let len_bytes = match parsed {
        Ok(httparse::Status::Complete(len_bytes)) => len_bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Fault::BadAnswer),
    };
    let (Some(status), Some(minor)) = (response.code, response.version) else { return Err(Fault::BadAnswer) };
    // What would follow is another protocol, for which nobody has asked.
    if status == 101 {
        return Err(Fault::BadAnswer);
    }
    let mut keeps_alive = minor == 1;
    let (mut length, mut is_chunked) = (None, false);
    for field in response.headers.iter() {
        // Most fields are known not to matter by the length of their name.
        match field.name.len() {
            10 if field.name.eq_ignore_ascii_case("connection") => {
                keeps_alive = (keeps_alive || lists(field.value, "keep-alive")) && !lists(field.value, "close");
            }
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                let value = decimal(field.value).ok_or(Fault::BadAnswer)?;
                if length.replace(value).is_some_and(|other| other != value) {
                    return Err(Fault::BadAnswer);
                }
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                is_chunked = field.value.eq_ignore_ascii_case(b"chunked");
                if !is_chunked {
                    return Err(Fault::BadAnswer);
                }
            }
            _ => {}
        }
    }
    let body = match (is_chunked, length) {
        (true, None) => Reading::Chunks(Chunks::new()),
        // Such a message may be meant to smuggle another one (RFC 9112 §6.3).
        (true, Some(_)) => return Err(Fault::BadAnswer),
        (false, Some(0)) => Reading::Head,
        (false, Some(length)) => Reading::Body(length),
        (false, None) => Reading::UntilClose,
    };
    Ok(Some(Head { len_bytes, status, keeps_alive, body }))
}

/// Whether a list has an option.
fn lists(value: &[u8], option: &str) -> bool {
    value.split(|&byte| byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
}

fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

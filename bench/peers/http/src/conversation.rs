//! HTTP/1.1 as far as the servers need it: heads by httparse, a look at what steers the connection, a route, a date that is
//! renewed each second.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httparse::{EMPTY_HEADER, Request, Status};

use crate::{CONTENT_TYPE, HELLO};

/// Bytes to read at a time, and the longest head.
pub const READ_BYTES: usize = 16 * 1024;
const MOST_HEADERS: usize = 64;

/// What a server knows about one connection.
#[derive(Debug, Default)]
pub struct Conversation {
    /// The begin of a head whose end has not come.
    rest: Vec<u8>,
}

/// What to do when the responses are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read on.
    Read,
    /// Close the connection.
    Close,
}

impl Conversation {
    /// Takes what was read and appends the responses to it to `out`.
    pub fn answer(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Next {
        if self.rest.is_empty() {
            let (taken, next) = answer_all(bytes, out);
            self.rest.extend_from_slice(&bytes[taken..]);
            return self.bounded(next, out);
        }
        self.rest.extend_from_slice(bytes);
        let (taken, next) = answer_all(&self.rest, out);
        self.rest.drain(..taken);
        self.bounded(next, out)
    }

    fn bounded(&self, next: Next, out: &mut Vec<u8>) -> Next {
        if next == Next::Read && self.rest.len() >= READ_BYTES {
            respond("431 Request Header Fields Too Large", "", false, out);
            return Next::Close;
        }
        next
    }
}

/// Answers all whole requests, and says how many bytes they had.
fn answer_all(bytes: &[u8], out: &mut Vec<u8>) -> (usize, Next) {
    let mut taken = 0;
    while taken < bytes.len() {
        let mut headers = [EMPTY_HEADER; MOST_HEADERS];
        let mut request = Request::new(&mut headers);
        match request.parse(&bytes[taken..]) {
            Ok(Status::Complete(length)) => taken += length,
            Ok(Status::Partial) => break,
            Err(_) => {
                respond("400 Bad Request", "", false, out);
                return (bytes.len(), Next::Close);
            }
        }
        if !answer_one(&request, out) {
            return (bytes.len(), Next::Close);
        }
    }
    (taken, Next::Read)
}

/// Answers a request, and says whether the connection stays.
fn answer_one(request: &Request<'_, '_>, out: &mut Vec<u8>) -> bool {
    let mut stays = request.version == Some(1);
    for header in &*request.headers {
        if header.name.eq_ignore_ascii_case("connection") {
            if header.value.eq_ignore_ascii_case(b"close") {
                stays = false;
            } else if header.value.eq_ignore_ascii_case(b"keep-alive") {
                stays = true;
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding")
            || header.name.eq_ignore_ascii_case("content-length") && header.value != b"0"
        {
            respond("413 Content Too Large", "", false, out);
            return false;
        }
    }
    match (request.method, request.path) {
        (Some("GET"), Some("/")) => respond("200 OK", HELLO, stays, out),
        _ => respond("404 Not Found", "", stays, out),
    }
    stays
}

fn respond(status: &str, body: &str, stays: bool, out: &mut Vec<u8>) {
    let put = |out: &mut Vec<u8>, text: &str| out.extend_from_slice(text.as_bytes());
    put(out, "HTTP/1.1 ");
    put(out, status);
    put(out, "\r\nDate: ");
    DATE.with_borrow_mut(|date| put(out, date.now()));
    put(out, "\r\nContent-Type: ");
    put(out, CONTENT_TYPE);
    // There are two lengths, and formatting numbers is not what is measured.
    put(out, if body.is_empty() { "\r\nContent-Length: 0\r\n" } else { "\r\nContent-Length: 12\r\n" });
    put(out, if stays { "\r\n" } else { "Connection: close\r\n\r\n" });
    put(out, body);
}

const _: () = assert!(HELLO.len() == 12);

thread_local! {
    static DATE: RefCell<Date> = const { RefCell::new(Date { text: String::new(), until: UNIX_EPOCH }) };
}

/// The date as `Date` has it.
struct Date {
    text: String,
    /// When the text is out of date.
    until: SystemTime,
}

impl Date {
    fn now(&mut self) -> &str {
        let now = SystemTime::now();
        if now >= self.until {
            self.text = httpdate::fmt_http_date(now);
            let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            self.until = UNIX_EPOCH + Duration::from_secs(seconds + 1);
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    fn answer(pieces: &[&str]) -> (String, Next) {
        let (mut conversation, mut out, mut next) = (Conversation::default(), Vec::new(), Next::Read);
        for piece in pieces {
            next = conversation.answer(piece.as_bytes(), &mut out);
        }
        (String::from_utf8(out).expect("it is text"), next)
    }

    #[test]
    fn answers_as_httpd_does() {
        let (text, next) = answer(&[ASK]);
        assert_eq!(next, Next::Read);
        let (date, rest) = text.strip_prefix("HTTP/1.1 200 OK\r\nDate: ").expect("a 200").split_at(29);
        assert!(httpdate::parse_http_date(date).is_ok());
        assert_eq!(rest, "\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nHello world\n");
    }

    #[test]
    fn answers_each_of_a_pipeline_however_it_is_cut() {
        let pipeline = ASK.repeat(16);
        let whole = answer(&[&pipeline]).0;
        assert_eq!(whole.matches("HTTP/1.1 200 OK").count(), 16);
        for cut in [1, 20, ASK.len(), ASK.len() + 3] {
            assert_eq!(answer(&[&pipeline[..cut], &pipeline[cut..]]).0.matches("HTTP/1.1 200 OK").count(), 16);
        }
    }

    #[test]
    fn closes_when_asked_to_and_after_nonsense() {
        let close = answer(&["GET / HTTP/1.1\r\nConnection: close\r\n\r\n"]);
        assert!(close.0.starts_with("HTTP/1.1 200 OK") && close.0.contains("\r\nConnection: close\r\n"));
        assert_eq!(close.1, Next::Close);
        assert_eq!(answer(&["GET / HTTP/1.0\r\n\r\n"]).1, Next::Close);
        assert!(answer(&["\u{1}\r\n\r\n"]).0.starts_with("HTTP/1.1 400 "));
        assert!(answer(&["GET /x HTTP/1.1\r\n\r\n"]).0.starts_with("HTTP/1.1 404 "));
        let long = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(READ_BYTES));
        assert!(answer(&[&long]).0.starts_with("HTTP/1.1 431 "));
    }
}

//! One line per request, in the forms that tools for logs know.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::fmt::{self, Write};

use sunstar_executor::Instant;
use sunstar_executor::timer::now;
use sunstar_http1::{Date, Headers, Request, Status};
use sunstar_net::{Address, Stream};

/// The most bytes of a request line or a header field that are shown; of longer ones the rest is left out, and dots say so.
pub const MAX_LOGGED_BYTES: usize = 1024;

/// What lines look like. The request's duration stands at the end of both, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum AccessFormat {
    /// The Common Log Format:
    /// `192.0.2.1 - - [06/Nov/1994:08:49:37 +0000] "GET / HTTP/1.1" 200 150 42`.
    #[default]
    Common,
    /// The same with `Referer` and `User-Agent`:
    /// `192.0.2.1 - - [06/Nov/1994:08:49:37 +0000] "GET / HTTP/1.1" 200 150 "-" "curl/8.14" 42`.
    Combined,
}

/// Where lines about requests go, and what they look like; for [`Server::with_access_log`](crate::Server::with_access_log).
///
/// A line has the client's address, when the request's head had come, the request line, the status, how many bytes the response has
/// with its head, and how long it took until the handler was done, in microseconds. If the connection ends before there is an answer,
/// the status is `-`. A request that was refused before it was understood has `-`
/// in place of its line.
///
/// What clients send is escaped: quotes, backslashes, and all bytes but visible ASCII and spaces. So nobody can forge a line, nor
/// command a terminal.
pub struct AccessLog {
    format: AccessFormat,
    sink: Box<dyn Fn(String)>,
}

impl AccessLog {
    /// Gives each line, without its end, to `sink`, on the shard of the connection. It must not wait; what it can't take is its own
    /// business.
    pub fn new(format: AccessFormat, sink: impl Fn(String) + 'static) -> Self {
        Self { format, sink: Box::new(sink) }
    }

    /// Gives each line to the [`log`] facade, on the level of information, under the target `access`.
    pub fn to_log(format: AccessFormat) -> Self {
        Self::new(format, |line| log::info!(target: "access", "{line}"))
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").field("format", &self.format).finish_non_exhaustive()
    }
}

/// What a connection has to say in the log.
pub(crate) struct Journal {
    /// How lines name its client.
    client: Box<str>,
    /// What is known of the request that is being served.
    entry: Option<Entry>,
}

impl Journal {
    /// Without requests.
    pub(crate) fn new(stream: &Stream) -> Self {
        Self { client: client(stream), entry: None }
    }

    /// A request is taken up, when the connection has sent so many bytes.
    pub(crate) fn begin(&mut self, request: Option<&Request>, date: Date, sent_bytes: u64) {
        self.entry = Some(Entry::new(request, date, sent_bytes));
    }

    /// Writes the line about the request that was taken up last, if there is one; until then the connection has sent so many bytes.
    pub(crate) fn finish(&mut self, log: &AccessLog, status: Option<Status>, sent_bytes: u64) {
        // If there is neither, the client's bytes are refused behind a request that was logged.
        if let Some(entry) = self.entry.take()
            && (entry.headers.is_some() || status.is_some())
        {
            entry.finish(log, &self.client, status, sent_bytes);
        }
    }
}

fn client(stream: &Stream) -> Box<str> {
    match stream.peer_address() {
        Ok(Address::Inet(address)) => format!("{}", address.ip().to_canonical()).into(),
        Ok(Address::Unix(_)) => "unix".into(),
        Err(_) => "-".into(),
    }
}

/// What is known of a request when it arrives.
struct Entry {
    headers: Option<Headers>,
    date: Date,
    begun: Instant,
    /// What the connection had sent before.
    sent_bytes: u64,
}

impl Entry {
    fn new(request: Option<&Request>, date: Date, sent_bytes: u64) -> Self {
        Self { headers: request.map(|request| request.headers().clone()), date, begun: now(), sent_bytes }
    }

    fn finish(self, log: &AccessLog, client: &str, status: Option<Status>, sent_bytes: u64) {
        let took = now() - self.begun;
        let line = self.line(log.format, client, status, sent_bytes.saturating_sub(self.sent_bytes), took.as_micros());
        (log.sink)(line);
    }

    fn line(
        &self,
        format: AccessFormat,
        client: &str,
        status: Option<Status>,
        sent_bytes: u64,
        took_us: u128,
    ) -> String {
        let mut line = format!("{client} - - [{}] ", Time(self.date));
        let head = self.headers.as_ref().map(|headers| &headers.head()[..]);
        quote(&mut line, head.and_then(|head| head.split(|&byte| byte == b'\r').next()));
        // Writing to a string can't fail.
        let _ = match status {
            Some(status) => write!(line, " {} {sent_bytes}", status.code()),
            None => write!(line, " - {sent_bytes}"),
        };
        if format == AccessFormat::Combined {
            for name in ["referer", "user-agent"] {
                line.push(' ');
                quote(&mut line, self.headers.as_ref().and_then(|headers| headers.get(name)));
            }
        }
        let _ = write!(line, " {took_us}");
        line
    }
}

/// Adds bytes of any origin in quotes; `-` if there are none.
fn quote(line: &mut String, bytes: Option<&[u8]>) {
    let bytes = bytes.unwrap_or(b"-");
    let shown = &bytes[..bytes.len().min(MAX_LOGGED_BYTES)];
    line.push('"');
    for &byte in shown {
        match byte {
            b'"' | b'\\' => line.extend(['\\', char::from(byte)]),
            b' '..=b'~' => line.push(char::from(byte)),
            // Writing to a string can't fail.
            _ => drop(write!(line, "\\x{byte:02x}")),
        }
    }
    line.push_str(if shown.len() < bytes.len() { "...\"" } else { "\"" });
}

/// A date as logs have it, `06/Nov/1994:08:49:37 +0000`.
struct Time(Date);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `Sun, 06 Nov 1994 08:49:37 GMT`
        let text = core::str::from_utf8(self.0.as_bytes()).map_err(|_| fmt::Error)?;
        write!(f, "{}/{}/{}:{} +0000", &text[5..7], &text[8..11], &text[12..16], &text[17..25])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_logs() {
        assert_eq!(Time(Date::from_unix_seconds(784_111_777)).to_string(), "06/Nov/1994:08:49:37 +0000");
    }

    #[test]
    fn nothing_leaves_its_quotes() {
        let quoted = |bytes: &[u8]| {
            let mut line = String::new();
            quote(&mut line, Some(bytes));
            line
        };
        assert_eq!(quoted(b"GET /a?\"b\" HTTP/1.1"), r#""GET /a?\"b\" HTTP/1.1""#);
        assert_eq!(quoted(b"a\r\n\t\0\x1b[2J\x7f\\ \xc3\xa9"), r#""a\x0d\x0a\x09\x00\x1b[2J\x7f\\ \xc3\xa9""#);
        for byte in 0..=u8::MAX {
            let quoted = quoted(&[byte]);
            assert!(quoted.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{byte:#x}");
            let inner = quoted[1..quoted.len() - 1].replace("\\\\", "").replace("\\\"", "");
            assert!(!inner.contains('"'), "{byte:#x}");
        }
        assert_eq!(quoted(&vec![b'x'; MAX_LOGGED_BYTES]).len(), MAX_LOGGED_BYTES + 2);
        assert_eq!(quoted(&vec![b'\n'; MAX_LOGGED_BYTES + 1]).len(), 4 * MAX_LOGGED_BYTES + 5);
    }
}

//! A small client over the kernel's sockets.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use super::server::PATIENCE;

pub(super) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
pub(super) const HELLO: &[u8] = b"Hello world\n";

/// A connection with what has arrived on it and was not looked at.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    unread: Vec<u8>,
}

/// A response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn status(&self) -> &str {
        &self.head[9..12]
    }

    pub(super) fn closes(&self) -> bool {
        self.head.contains("\r\nConnection: close\r\n")
    }
}

impl Client {
    pub(super) fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    /// The client of a stream that is connected.
    pub(super) fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new() })
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(super) fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
        self.answer()
    }

    /// The next response.
    ///
    /// # Errors
    /// `UnexpectedEof` if the connection ends within it, `ConnectionAborted` if it ends before.
    pub(super) fn answer(&mut self) -> io::Result<Answer> {
        let head_len = loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.more()?;
        };
        let head = String::from_utf8(self.unread[..head_len].to_vec()).expect("heads are text");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("it has a length");
        let len_bytes: usize = length.parse().expect("a number");
        while self.unread.len() < head_len + len_bytes {
            self.more()?;
        }
        let body = self.unread[head_len..head_len + len_bytes].to_vec();
        self.unread.drain(..head_len + len_bytes);
        Ok(Answer { head, body })
    }

    fn more(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let within = |error: io::Error, is_within| if is_within { io::ErrorKind::UnexpectedEof.into() } else { error };
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(within(io::ErrorKind::ConnectionAborted.into(), !self.unread.is_empty())),
            Ok(count) => {
                self.unread.extend_from_slice(&bytes[..count]);
                Ok(())
            }
            Err(error) => Err(within(error, !self.unread.is_empty())),
        }
    }

    /// All that still comes, to the end.
    pub(super) fn rest(mut self) -> io::Result<Vec<u8>> {
        let mut rest = std::mem::take(&mut self.unread);
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// Ends the connection by a reset.
    pub(super) fn reset(self) {
        set_socket_linger(&self.stream, Some(Duration::ZERO)).expect("it is a socket");
    }
}

//! Servers that do what a test wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Listens at an address of this host and serves each connection in a thread of its own, for as long as the test runs.
pub(super) fn serve(conversation: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has one");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, conversation) = (stream.expect("connections come"), conversation.clone());
            thread::spawn(move || conversation(stream));
        }
    });
    address
}

/// Reads requests without bodies and hands each, whole, to `answer`, which says what is sent back.
pub(super) fn converse(mut stream: TcpStream, mut answer: impl FnMut(&str) -> Vec<u8>) {
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while let Ok(count) = stream.read(&mut bytes) {
        if count == 0 {
            return;
        }
        text += std::str::from_utf8(&bytes[..count]).expect("requests are text");
        while let Some(end) = text.find("\r\n\r\n") {
            let request: String = text.drain(..end + 4).collect();
            let answer = answer(&request);
            // Who does not want it has gone.
            if answer.is_empty() || stream.write_all(&answer).is_err() {
                return;
            }
        }
    }
}

/// An answer with this status and body.
pub(super) fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

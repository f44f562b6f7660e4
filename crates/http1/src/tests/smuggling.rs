//! What two programs could understand differently is refused (RFC 9112 §11.2).

use super::Script;
use crate::{Error, Event};

/// Refuses a request of these header lines, however it is split.
fn refuse(section: &str, text: &str, error: Error) {
    for at in 0..text.len() {
        let mut script = Script::new();
        let mut events = Vec::new();
        for part in [&text[..at], &text[at..]] {
            script.send(part);
            while let Some(event) = script.connection.poll_event() {
                events.push(event);
            }
        }
        let last = events.pop().map(|event| format!("{event:?}"));
        assert_eq!(last, Some(format!("{:?}", Event::Error(error))), "{section}: {text:?} split at {at}");
        assert!(!script.connection.wants_input());
    }
}

#[test]
fn heads_that_can_be_read_in_two_ways() {
    // Section of RFC 9112, header lines after a good `Host`, what is wrong.
    let cases = [
        ("6.1", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Error::ContentLength),
        ("6.1", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Error::ContentLength),
        ("6.1", "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", Error::ContentLength),
        ("6.1", "Transfer-Encoding: chunked, chunked\r\n", Error::TransferEncoding),
        ("6.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Error::TransferEncoding),
        ("6.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", Error::TransferEncoding),
        ("6.3", "Transfer-Encoding: chunked, gzip\r\n", Error::TransferEncoding),
        ("6.3", "Transfer-Encoding: gzip\r\n", Error::TransferEncoding),
        ("6.3", "Transfer-Encoding: identity\r\n", Error::TransferEncoding),
        ("6.3", "Transfer-Encoding: xchunked\r\n", Error::TransferEncoding),
        ("6.3", "Transfer-Encoding: \"chunked\"\r\n", Error::TransferEncoding),
        ("7", "Transfer-Encoding: chunked;a=b\r\n", Error::TransferEncoding),
        ("6.3", "Transfer-Encoding:\r\n", Error::TransferEncoding),
        ("6.3", "Transfer-Encoding: ,\r\n", Error::TransferEncoding),
        ("6.1", "Transfer-Encoding: gzip, chunked\r\n", Error::TransferCoding),
        ("6.1", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", Error::TransferCoding),
        ("6.3", "Transfer-Encoding: \x0bchunked\r\n", Error::Header),
        ("6.3", "Transfer-Encoding\t: chunked\r\n", Error::Header),
        ("6.3", "Content-Length: 5\r\nContent-Length: 5\r\n", Error::ContentLength),
        ("6.3", "Content-Length: 5\r\nContent-Length: 6\r\n", Error::ContentLength),
        ("6.3", "Content-Length: 5, 5\r\n", Error::ContentLength),
        ("6.3", "Content-Length: +5\r\n", Error::ContentLength),
        ("6.3", "Content-Length: -5\r\n", Error::ContentLength),
        ("6.3", "Content-Length: 0x5\r\n", Error::ContentLength),
        ("6.3", "Content-Length: 5 5\r\n", Error::ContentLength),
        ("6.3", "Content-Length:\r\n", Error::ContentLength),
        ("6.3", "Content-Length: 18446744073709551616\r\n", Error::ContentLength),
        ("5.1", "Content-Length : 5\r\n", Error::Header),
        ("5.1", " Content-Length: 5\r\n", Error::Header),
        ("5.1", "Content-Length\r\n", Error::Header),
        ("5.1", ": 5\r\n", Error::Header),
        ("5.1", "Content Length: 5\r\n", Error::Header),
        ("5.2", "A: b\r\n Content-Length: 5\r\n", Error::Header),
        ("5.2", "A: b\r\n\tc\r\n", Error::Header),
        ("5.5", "A: b\0c\r\n", Error::Header),
        ("5.5", "A\0: b\r\n", Error::Header),
        ("5.5", "A: b\x7f\r\n", Error::Header),
        ("2.2", "A: b\rContent-Length: 5\r\n", Error::Header),
        ("2.2", "A: b\r\r\n", Error::Header),
        ("2.2", "A: b\nContent-Length: 5\r\n", Error::LineEnd),
        ("2.2", "A: b\n", Error::LineEnd),
        ("2.2", "A:\n", Error::LineEnd),
        ("2.2", "\n", Error::LineEnd),
        ("3.2", "Host: a\r\n", Error::Host),
        ("3.2", "host: b\r\n", Error::Host),
    ];
    for (section, lines, error) in cases {
        refuse(section, &format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"), error);
    }
}

#[test]
fn requests_that_can_be_read_in_two_ways() {
    let cases = [
        ("3.2", "GET / HTTP/1.1\r\n\r\n", Error::Host),
        ("3.2", "GET http://a/ HTTP/1.1\r\n\r\n", Error::Host),
        ("3.2", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Error::Host),
        ("3.2", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Error::Host),
        ("3.2", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Error::Host),
        ("3.2", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", Error::Host),
        ("3.2", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", Error::Host),
        ("6.1", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Error::TransferEncoding),
        ("2.2", "GET / HTTP/1.1\nHost: a\r\n\r\n", Error::LineEnd),
        ("2.2", "GET / HTTP/1.1\r\nHost: a\r\n\n", Error::LineEnd),
        ("2.2", "GET / HTTP/1.1\r\nHost: a\n\r\n", Error::LineEnd),
        ("2.2", "GET / HTTP/1.0\n\r\n", Error::LineEnd),
        ("2.2", "GET / HTTP/1.0\r\n\n", Error::LineEnd),
        ("2.2", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", Error::LineEnd),
        ("2.2", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Error::StartLine),
        ("2.2", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", Error::StartLine),
        ("2.2", "\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Error::StartLine),
        ("2.2", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", Error::StartLine),
        ("2.2", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", Error::Header),
        ("3", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Error::StartLine),
        ("3", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Error::StartLine),
        ("3", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Error::StartLine),
        ("3", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Error::StartLine),
        ("3", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", Error::StartLine),
        ("3", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Error::LineEnd),
        ("3", "GET /\r\n\r\n", Error::StartLine),
        ("3", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", Error::StartLine),
        ("2.3", "GET / http/1.1\r\nHost: a\r\n\r\n", Error::StartLine),
        ("2.3", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", Error::Version),
        ("2.3", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", Error::Version),
        ("2.3", "GET / HTTP/11\r\nHost: a\r\n\r\n", Error::Version),
        ("2.3", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Error::Version),
    ];
    for (section, text, error) in cases {
        refuse(section, text, error);
    }
}

#[test]
fn chunks_that_can_be_read_in_two_ways() {
    let cases = [
        ("7.1", "\r\n", Error::Chunk),
        ("7.1", "x\r\n", Error::Chunk),
        ("7.1", "0x1\r\na\r\n", Error::Chunk),
        ("7.1", "+1\r\na\r\n", Error::Chunk),
        ("7.1", "-1\r\na\r\n", Error::Chunk),
        ("7.1", " 1\r\na\r\n", Error::Chunk),
        ("7.1", "1 \r\na\r\n", Error::Chunk),
        ("7.1", "1\na\r\n", Error::Chunk),
        ("7.1", "1\ra\r\n", Error::Chunk),
        ("7.1", "1\r\nab\r\n", Error::Chunk),
        ("7.1", "1\r\na\n0\r\n\r\n", Error::Chunk),
        ("7.1", "1\r\na0\r\n\r\n", Error::Chunk),
        ("7.1", "1\r\na\r0\r\n\r\n", Error::Chunk),
        ("7.1", "10000000000000000\r\na", Error::Chunk),
        ("7.1", "ffffffffffffffff1\r\na", Error::Chunk),
        ("7.1", "00000000000000001\r\na", Error::Chunk),
        ("7.1", "ffffffffffffffff\r\na", Error::BodyTooLarge),
        ("7.1.1", "1;a\nb\r\nc\r\n", Error::Chunk),
        ("7.1.1", "1;a\rb\r\nc\r\n", Error::Chunk),
        ("7.1.1", "1;a\0\r\nc\r\n", Error::Chunk),
        ("7.1.2", "0\r\na\r\n\r\n", Error::Trailer),
        ("7.1.2", "0\r\n a: b\r\n\r\n", Error::Trailer),
        ("7.1.2", "0\r\na : b\r\n\r\n", Error::Trailer),
        ("7.1.2", "0\r\n: b\r\n\r\n", Error::Trailer),
        ("7.1.2", "0\r\na: b\nc: d\r\n\r\n", Error::Trailer),
        ("7.1.2", "0\r\na: b\r\n c\r\n\r\n", Error::Trailer),
        ("7.1.2", "0\r\n\n", Error::Trailer),
        ("7.1.2", "0\r\n\rx", Error::Trailer),
        ("7.1", "0\r\nGET / HTTP/1.1\r\n\r\n", Error::Trailer),
    ];
    for (section, body, error) in cases {
        let text = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_string() + body;
        refuse(section, &text, error);
    }
}

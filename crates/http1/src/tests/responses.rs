//! Scripts about what leaves.

use sunstar_packet::Buffer;

use super::{OK_HELLO, Script};
use crate::{BodyError, COPIED_BODY_BYTES, Date, HeaderLines, HeaderName, RespondError, Status};

fn asked(line: &str) -> Script {
    let mut script = Script::new();
    script.send(format!("{line}\r\nHost: a\r\n\r\n")).request();
    script
}

#[test]
fn a_small_response_is_one_buffer() {
    let mut script = asked("GET / HTTP/1.1");
    let date = Date::from_unix_seconds(784_111_777);
    let mut response = script.connection.respond(Status::NOT_FOUND, Some(&date)).unwrap();
    response.header(HeaderName::CONTENT_TYPE, "text/plain").unwrap().header(HeaderName::SERVER, b"sunstar").unwrap();
    response.send("nothing\n");
    let out = script.transmit();
    assert_eq!(out.len(), 1);
    let text = "HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n\
                Server: sunstar\r\nContent-Length: 8\r\n\r\nnothing\n";
    assert_eq!(out[0].escape_ascii().to_string(), text.as_bytes().escape_ascii().to_string());
}

#[test]
fn small_responses_to_pipelined_requests_are_one_buffer() {
    let mut script = Script::new();
    script.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(16));
    for _ in 0..16 {
        script.expect_request("/").answer("hello");
    }
    let out = script.transmit();
    assert_eq!(out.len(), 1);
    assert_eq!(out[0], OK_HELLO.repeat(16).as_bytes());
}

#[test]
fn large_bodies_stay_where_they_are() {
    let mut script = asked("GET / HTTP/1.1");
    let body = Buffer::from(vec![7; COPIED_BODY_BYTES + 1]);
    script.connection.respond(Status::OK, None).unwrap().send(body.clone());
    let out = script.transmit();
    assert_eq!(out[0], b"HTTP/1.1 200 OK\r\nContent-Length: 1025\r\n\r\n");
    assert!(out.len() == 2 && body.slice_of(&out[1]).is_some());
}

#[test]
fn responses_without_body_have_none() {
    let head = |status, line: &str| {
        let mut script = asked(line);
        script.connection.respond(status, None).unwrap().send("hello");
        let out = script.transmit().concat();
        script.expect_open();
        out
    };
    assert_eq!(head(Status::OK, "HEAD / HTTP/1.1"), b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(head(Status::NO_CONTENT, "GET / HTTP/1.1"), b"HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(head(Status::NOT_MODIFIED, "GET / HTTP/1.1"), b"HTTP/1.1 304 Not Modified\r\n\r\n");
    assert_eq!(head(Status::new(299).unwrap(), "HEAD / HTTP/1.1"), b"HTTP/1.1 299 \r\nContent-Length: 5\r\n\r\n");

    let mut script = asked("HEAD / HTTP/1.1");
    script.connection.respond(Status::OK, None).unwrap().stream(None);
    script.connection.send_body("hello").unwrap();
    script.connection.end_body().unwrap();
    script.expect_output("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").expect_open();
}

#[test]
fn bodies_of_known_length_may_come_in_parts() {
    let mut script = asked("GET / HTTP/1.1");
    script.connection.respond(Status::OK, None).unwrap().stream(Some(5));
    script.expect_output("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    script.connection.send_body("he").unwrap();
    assert_eq!(script.connection.respond(Status::OK, None).err(), Some(RespondError::Sending));
    assert_eq!(script.connection.send_body("llo!"), Err(BodyError::TooLong));
    script.connection.send_body("llo").unwrap();
    script.connection.end_body().unwrap();
    script.expect_output("hello").expect_open();
    assert_eq!(script.connection.send_body("x"), Err(BodyError::NotStreaming));
    assert_eq!(script.connection.end_body(), Err(BodyError::NotStreaming));
}

#[test]
fn a_body_that_is_too_short_ends_the_connection() {
    let mut script = asked("GET / HTTP/1.1");
    script.connection.respond(Status::OK, None).unwrap().stream(Some(5));
    assert_eq!(script.connection.end_body(), Err(BodyError::TooShort));
    script.expect_output("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").expect_closed();
}

#[test]
fn bodies_of_unknown_length_go_in_chunks() {
    let mut script = asked("GET / HTTP/1.1");
    script.connection.respond(Status::OK, None).unwrap().stream(None);
    script.connection.send_body("hello").unwrap();
    script.connection.send_body("").unwrap();
    let large = Buffer::from(vec![b'x'; 0x1001]);
    script.connection.send_body(large.clone()).unwrap();
    script.connection.end_body().unwrap();
    let out = script.transmit();
    assert!(out.len() == 3 && large.slice_of(&out[1]).is_some());
    assert_eq!(out[0], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1001\r\n");
    assert_eq!(out[2], b"\r\n0\r\n\r\n");
    script.expect_open();
}

#[test]
fn to_the_old_version_a_body_of_unknown_length_ends_with_the_connection() {
    let mut script = asked("GET / HTTP/1.0\r\nConnection: keep-alive");
    script.connection.respond(Status::OK, None).unwrap().stream(None);
    script.connection.send_body("hello").unwrap();
    script.connection.end_body().unwrap();
    script.expect_output("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello").expect_closed();
}

#[test]
fn the_server_may_close() {
    let mut script = Script::new();
    script.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2)).expect_request("/").expect_request("/");
    let mut response = script.connection.respond(Status::OK, None).unwrap();
    response.close();
    response.send("");
    script.expect_output("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").expect_closed();
    assert_eq!(script.connection.respond(Status::OK, None).err(), Some(RespondError::NothingAsked));
}

#[test]
fn a_response_that_is_given_up_leaves_nothing() {
    let mut script = Script::new();
    script.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2)).expect_request("/").expect_request("/");
    script.answer("hello");
    let mut response = script.connection.respond(Status::NOT_FOUND, None).unwrap();
    response.header(HeaderName::SERVER, "x").unwrap();
    drop(response);
    script.answer("hello").expect_output(OK_HELLO.repeat(2));
}

#[test]
fn only_final_responses_to_requests_are_sent() {
    let mut script = Script::new();
    assert_eq!(script.connection.respond(Status::OK, None).err(), Some(RespondError::NothingAsked));
    let mut script = asked("GET / HTTP/1.1");
    assert_eq!(script.connection.respond(Status::CONTINUE, None).err(), Some(RespondError::Interim));
}

#[test]
fn values_can_not_split_a_response() {
    let mut script = asked("GET / HTTP/1.1");
    let mut response = script.connection.respond(Status::OK, None).unwrap();
    for value in ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0b", "\x7f", "\x0b"] {
        assert!(response.header(HeaderName::SERVER, value).is_err(), "{value:?}");
    }
    response.header(HeaderName::SERVER, "a\tb \u{fc}").unwrap();
    response.send("");
    script.expect_output("HTTP/1.1 200 OK\r\nServer: a\tb \u{fc}\r\nContent-Length: 0\r\n\r\n");
    for name in ["", "a b", "a:", "a\r\n", "Content-length", "TRANSFER-ENCODING", "connection", "\u{fc}"] {
        assert!(HeaderName::new(name).is_none(), "{name}");
    }
    let mut lines = HeaderLines::new();
    assert!(lines.add(HeaderName::SERVER, "a\r\nb").is_err() && lines.add(HeaderName::SERVER, "b").is_ok());
    let mut script = asked("GET / HTTP/1.1");
    let mut response = script.connection.respond(Status::OK, None).unwrap();
    response.lines(&lines);
    response.send("");
    script.expect_output("HTTP/1.1 200 OK\r\nServer: b\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(HeaderName::new("X-Any").map(HeaderName::as_str), Some("X-Any"));
}

#[test]
fn a_head_may_be_larger_than_a_frame() {
    let mut script = asked("GET / HTTP/1.1");
    let mut response = script.connection.respond(Status::OK, None).unwrap();
    let value = "v".repeat(3000);
    for _ in 0..40 {
        response.header(HeaderName::SERVER, &value).unwrap();
    }
    response.send("hello");
    let text = script.transmit().concat();
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut headers);
    let len = parsed.parse(&text).unwrap().unwrap();
    assert_eq!((parsed.headers.len(), &text[len..]), (41, &b"hello"[..]));
}

#[test]
fn frames_go_back_when_they_were_sent() {
    let mut script = Script::new();
    for _ in 0..100 {
        script.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect_request("/").answer("hello");
        let out: Vec<Buffer> = script.transmit();
        assert_eq!(script.endpoint.counters().frames.in_use_frames, 1);
        drop(out);
    }
    let frames = script.endpoint.counters().frames;
    assert_eq!((frames.in_use_frames, frames.high_water_frames, frames.exhausted), (0, 1, 0));
    assert!(frames.reserved_bytes > 0, "they are kept");
    script.endpoint.free_unused_memory();
    assert_eq!(script.endpoint.counters().frames.reserved_bytes, 0);
}

#[test]
fn bytes_that_pass_by_the_connection_are_counted() {
    let begun = |line: &str, length| {
        let mut script = asked(line);
        script.connection.respond(Status::OK, None).unwrap().stream(length);
        script.transmit();
        script
    };
    let mut script = begun("GET / HTTP/1.1", Some(10));
    assert_eq!(script.connection.skip_body(7), Ok(7));
    assert_eq!(script.connection.skip_body(4), Err(BodyError::TooLong));
    script.connection.send_body("abc").unwrap();
    assert_eq!(script.connection.end_body(), Ok(()));
    script.expect_output("abc").expect_open();
    assert_eq!(script.connection.skip_body(1), Err(BodyError::NotStreaming));

    let mut script = begun("GET / HTTP/1.1", Some(10));
    assert_eq!(script.connection.skip_body(9), Ok(9));
    assert_eq!(script.connection.end_body(), Err(BodyError::TooShort));
    script.expect_closed();

    assert_eq!(begun("HEAD / HTTP/1.1", Some(10)).connection.skip_body(10), Ok(0));
    assert_eq!(begun("GET / HTTP/1.1", None).connection.skip_body(10), Err(BodyError::Chunked));
    assert_eq!(begun("GET / HTTP/1.0", None).connection.skip_body(10), Ok(10));
}

#[test]
fn trailers_are_sent_behind_chunks_only() {
    let mut lines = HeaderLines::new();
    lines.add(HeaderName::constant("Digest"), "42").unwrap().add(HeaderName::constant("X"), "").unwrap();
    let names = [HeaderName::constant("Digest"), HeaderName::constant("X")];
    let fields = "Trailer: Digest, X\r\n";
    for (request, length, expected) in [
        (
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            None,
            format!("{fields}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nDigest: 42\r\nX: \r\n\r\n"),
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Some(2), format!("{fields}Content-Length: 2\r\n\r\nab")),
        ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", None, format!("{fields}Transfer-Encoding: chunked\r\n\r\n")),
        ("GET / HTTP/1.0\r\n\r\n", None, "Connection: close\r\n\r\nab".to_owned()),
    ] {
        let mut script = Script::new();
        script.send(request).request();
        let mut response = script.connection.respond(Status::OK, None).unwrap();
        response.announce_trailers(&names).announce_trailers(&[]);
        response.stream(length);
        script.connection.send_body("ab").unwrap();
        script.connection.end_body_with(&lines).unwrap();
        script.expect_output(format!("HTTP/1.1 200 OK\r\n{expected}"));
    }
}

#[test]
fn what_may_not_be_a_trailer_is_not_sent_as_one() {
    let mut script = Script::new();
    script.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").request();
    script.connection.respond(Status::OK, None).unwrap().stream(None);
    let mut lines = HeaderLines::new();
    lines.add(HeaderName::constant("Digest"), "42").unwrap().add(HeaderName::CONTENT_TYPE, "text/plain").unwrap();
    assert_eq!(script.connection.end_body_with(&lines), Err(BodyError::Trailer));
    script.connection.end_body().unwrap();
    script.expect_output("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(script.connection.end_body_with(&HeaderLines::new()), Err(BodyError::NotStreaming));
}

#[test]
fn a_body_that_only_the_end_of_the_connection_ends_must_not_break_off_unnoticed() {
    for (version, length, needs_reset) in [("1.0", None, true), ("1.0", Some(9), false), ("1.1", None, false)] {
        let mut script = Script::new();
        script.send(format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n")).expect_request("/");
        script.connection.respond(Status::OK, None).unwrap().stream(length);
        script.connection.send_body("123").unwrap();
        assert_eq!(script.connection.needs_reset(), needs_reset, "{version}, {length:?}");
        script.connection.abort();
        assert_eq!(script.connection.needs_reset(), needs_reset, "{version}, {length:?}");
    }
    let mut script = Script::new();
    script.send("GET / HTTP/1.0\r\n\r\n").expect_request("/");
    script.connection.respond(Status::OK, None).unwrap().stream(None);
    script.connection.end_body().unwrap();
    assert!(!script.connection.needs_reset());
}

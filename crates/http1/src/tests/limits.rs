//! Scripts about what is too much, and how it is answered.

use sunstar_packet::Buffer;

use super::{OK_HELLO, Script};
use crate::{Error, InputFull, Limits, Status};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn refuse(limits: Limits, text: &str, error: Error) {
    Script::with(limits).send(text).expect_error(error);
    // However it arrives.
    let mut script = Script::with(limits);
    for byte in text.as_bytes() {
        if script.connection.wants_input() {
            script.send([*byte]);
        }
        if let Some(event) = script.connection.poll_event() {
            assert_eq!(format!("{event:?}"), format!("{:?}", crate::Event::Error(error)));
            return;
        }
    }
    panic!("not refused byte by byte: {text}");
}

#[test]
fn start_lines_are_bounded() {
    let limits = Limits { start_line_bytes: 20, header_bytes: 40, ..Limits::DEFAULT };
    let line = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    Script::with(limits).send(line("/234")).request();
    refuse(limits, &line("/23456"), Error::StartLineTooLong);
    refuse(limits, &line(&"/".repeat(100)), Error::StartLineTooLong);
    refuse(limits, &"/".repeat(100).replace('/', "A"), Error::StartLineTooLong);
}

#[test]
fn header_sections_are_bounded() {
    let limits = Limits { start_line_bytes: 20, header_bytes: 22, headers: 3, ..Limits::DEFAULT };
    let head = |headers: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    Script::with(limits).send(head("B: 345678\r\n")).expect_request("/");
    refuse(limits, &head("B: 3456789\r\n"), Error::HeadersTooLarge);
    refuse(limits, &head(&format!("B: {}\r\n", "x".repeat(100))), Error::HeadersTooLarge);
    refuse(Limits { header_bytes: 1000, ..limits }, &head("B:\r\nC:\r\nD:\r\n"), Error::HeadersTooLarge);
    Script::with(limits).send(head("B:\r\nC:\r\n")).expect_request("/");
}

#[test]
fn limits_beyond_what_is_possible_are_bounded_too() {
    let limits =
        Limits { start_line_bytes: usize::MAX, header_bytes: usize::MAX, headers: usize::MAX, ..Limits::DEFAULT };
    let many: String = (0..crate::MAX_HEADERS).map(|number| format!("H{number}: x\r\n")).collect();
    refuse(limits, &format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), Error::HeadersTooLarge);
    let mut script = Script::with(limits);
    script.send(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(crate::MAX_HEAD_BYTES - 27))).request();
    script.send(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(crate::MAX_HEAD_BYTES - 26)));
    script.expect_error(Error::HeadersTooLarge);
}

#[test]
fn bodies_are_bounded() {
    let limits = Limits { body_bytes: 10, ..Limits::DEFAULT };
    let known = |length: u64| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    Script::with(limits).send(known(10)).request();
    refuse(limits, &known(11), Error::BodyTooLarge);
    refuse(limits, &known(u64::MAX), Error::BodyTooLarge);

    let mut script = Script::with(limits);
    script.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").request();
    script.send("6\r\n123456\r\n5\r\n").expect_body("123456").expect_error(Error::BodyTooLarge);
}

#[test]
fn what_is_around_chunks_is_bounded() {
    let limits = Limits { chunk_extension_bytes: 5, trailer_bytes: 5, ..Limits::DEFAULT };
    for (body, error) in [
        ("1;abc\r\nx\r\n0;\r\nA:bcd\r\n\r\n", None),
        ("1;abc\r\nx\r\n0;a\r\n", Some(Error::Chunk)),
        // Whitespace before an extension is bad, and to be taken (RFC 9112 §7.1.1).
        ("1 ;a\r\nx\r\n0\t;\r\n\r\n", None),
        ("1 \t \t ;", Some(Error::Chunk)),
        ("0\r\nA:b\r\nC:d\r\n\r\n", Some(Error::TrailersTooLarge)),
        ("0\r\nA:bcd\r\n\r\n", None),
        ("0\r\nA:bcde\r\n\r\n", Some(Error::TrailersTooLarge)),
        ("00000000000000000\r\n\r\n", Some(Error::Chunk)),
    ] {
        let mut script = Script::with(limits);
        script.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").send(body).request();
        let last = core::iter::from_fn(|| script.connection.poll_event()).last().unwrap();
        let expected = error.map_or("End".to_string(), |error| format!("Error({error:?})"));
        assert_eq!(format!("{last:?}"), expected, "{body}");
    }
}

#[test]
fn trailers_are_bounded_whatever_the_limits_say() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
    let unlimited = Limits { trailer_bytes: usize::MAX, headers: usize::MAX, input_bytes: 1 << 20, ..Limits::DEFAULT };
    for (limits, trailers, expected) in [
        (unlimited, format!("{}\r\n", "A:\r\n".repeat(crate::MAX_HEADERS)), "End"),
        (unlimited, format!("{}\r\n", "A:\r\n".repeat(crate::MAX_HEADERS + 1)), "Error(TrailersTooLarge)"),
        (unlimited, format!("A:{}\r\n\r\n", "b".repeat((40 << 10) - 2)), "End"),
        (unlimited, format!("A:{}\r\n\r\n", "b".repeat((40 << 10) - 1)), "Error(TrailersTooLarge)"),
        (Limits { headers: 2, ..unlimited }, "A:b\r\nC:d\r\n\r\n".to_owned(), "End"),
        (Limits { headers: 2, ..unlimited }, "A:b\r\nC:d\r\nE:\r\n\r\n".to_owned(), "Error(TrailersTooLarge)"),
    ] {
        let mut script = Script::with(limits);
        script.send(post).send(trailers).request();
        let last = core::iter::from_fn(|| script.connection.poll_event()).last().unwrap();
        assert_eq!(format!("{last:?}"), expected);
    }
}

#[test]
fn requests_in_flight_are_bounded() {
    let mut script = Script::with(Limits { pipelined_requests: 2, ..Limits::DEFAULT });
    script.send(GET.repeat(3)).expect_request("/").expect_request("/").expect_nothing();
    assert_eq!(script.connection.in_flight(), 2);
    assert_eq!(script.endpoint.counters().pipelines_full, 1);
    script.answer("hello").expect_request("/").answer("hello").answer("hello").expect_nothing();
    script.expect_output(OK_HELLO.repeat(3));
}

#[test]
fn output_that_is_not_taken_holds_requests_back() {
    let mut script = Script::with(Limits { output_bytes: OK_HELLO.len(), ..Limits::DEFAULT });
    script.send(GET.repeat(3)).expect_request("/").answer("hello").expect_request("/").answer("hello");
    script.expect_nothing();
    assert_eq!((script.endpoint.counters().outputs_full, script.endpoint.counters().pipelines_full), (1, 0));
    script.expect_output(OK_HELLO.repeat(2)).expect_request("/");
}

#[test]
fn input_is_bounded_in_bytes_and_buffers() {
    let limits = Limits { input_bytes: 100, input_buffers: 3, pipelined_requests: 1, ..Limits::DEFAULT };
    let mut script = Script::with(limits);
    script.send(GET).expect_request("/").send(GET.repeat(4));
    assert!(!script.connection.wants_input());
    let InputFull(back) = script.connection.handle_input(Buffer::from("x")).unwrap_err();
    assert_eq!(back, b"x");
    assert_eq!(script.endpoint.counters().inputs_full, 1);
    script.answer("hello").expect_request("/").expect_open();

    let mut script = Script::with(limits);
    script.send(GET).expect_request("/").send("a").send("b").send("c").expect_open().send("d");
    assert!(!script.connection.wants_input());

    // Without any, nothing would ever be served.
    let mut script = Script::with(Limits { input_bytes: 0, input_buffers: 0, ..Limits::DEFAULT });
    script.send(GET).expect_request("/").expect_open();
}

#[test]
fn each_error_has_its_status() {
    for (error, code) in [
        (Error::StartLine, 400),
        (Error::Host, 400),
        (Error::ContentLength, 400),
        (Error::BodyTooLarge, 413),
        (Error::StartLineTooLong, 414),
        (Error::Expectation, 417),
        (Error::HeadersTooLarge, 431),
        (Error::TrailersTooLarge, 431),
        (Error::TransferCoding, 501),
        (Error::Method, 501),
        (Error::Version, 505),
    ] {
        assert_eq!(error.status().code(), code, "{error}");
    }
}

#[test]
fn what_is_refused_is_answered_in_its_turn_and_ends_the_connection() {
    let mut script = Script::new();
    script.send(GET).send("GET / HTTP/2.0\r\n\r\n").send(GET);
    script.expect_request("/").expect_error(Error::Version).expect_nothing();
    assert_eq!(script.connection.in_flight(), 2);
    script.answer("hello");
    script.connection.respond(Status::HTTP_VERSION_NOT_SUPPORTED, None).unwrap().send("");
    script.expect_output(format!(
        "{OK_HELLO}HTTP/1.1 505 HTTP Version Not Supported\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    ));
    script.expect_closed();
    assert_eq!(script.endpoint.counters().errors, 1);
}

#[test]
fn bytes_one_by_one_are_looked_at_a_bounded_number_of_times() {
    // A head of many bytes, each in a buffer of its own. That it is copied once can be counted.
    let mut script = Script::new();
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(10_000));
    for byte in head.as_bytes() {
        script.send([*byte]);
        if script.connection.in_flight() == 0 {
            let event = script.connection.poll_event();
            assert_eq!(event.is_some(), script.connection.in_flight() == 1);
        }
    }
    assert_eq!(script.connection.in_flight(), 1);
    assert_eq!(script.endpoint.counters().joined_bytes, head.len() as u64);
}

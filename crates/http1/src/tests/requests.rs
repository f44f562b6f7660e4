//! Scripts about what arrives.

use sunstar_packet::Buffer;

use super::{OK_HELLO, OK_HELLO_CLOSE, Script};
use crate::{BodyLength, Error, Event, Method, Version};

#[test]
fn a_head_in_one_buffer_is_not_copied() {
    let mut script = Script::new();
    let input = Buffer::copy_from_slice(b"GET /a?b=c HTTP/1.1\r\nHost: me:80\r\nX-Y:  1 \r\nx-y:\t2\r\nEmpty:\r\n\r\n");
    script.connection.handle_input(input.clone()).unwrap();
    let request = script.request();
    assert!(input.slice_of(request.headers().head()).is_some(), "the head lies elsewhere");
    assert_eq!(script.endpoint.counters().joined_heads, 0);

    assert_eq!((request.method(), request.method_name()), (Method::Get, &b"GET"[..]));
    assert_eq!(request.version(), Version::Http11);
    assert_eq!(request.path(), b"/a");
    assert_eq!(request.query(), Some(&b"b=c"[..]));
    assert_eq!(request.authority(), Some(&b"me:80"[..]));
    let headers = request.headers();
    assert_eq!(headers.len(), 4);
    assert_eq!(headers.get("HOST"), Some(&b"me:80"[..]));
    assert_eq!(headers.get_all("x-Y").collect::<Vec<_>>(), [b"1", b"2"]);
    assert!(headers.has_element("X-y", "2") && !headers.has_element("x-y", "3"));
    assert_eq!(headers.get("empty"), Some(&b""[..]));
    assert_eq!(headers.get("none"), None);
    assert!(input.slice_of(&headers.get_buffer("x-y").unwrap()).is_some());
    assert_eq!(headers.iter().next(), Some((&b"Host"[..], &b"me:80"[..])));
}

#[test]
fn a_head_in_several_buffers_is_joined_and_counted() {
    let mut script = Script::new();
    script.send("GET / HT").expect_nothing().send("TP/1.1\r\nHost: a\r\n").expect_nothing();
    script.send("\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    script.expect_request("/").expect_request("/next").expect_nothing();
    let counters = script.endpoint.counters();
    assert_eq!((counters.heads, counters.joined_heads, counters.joined_bytes), (2, 1, 27));
}

#[test]
fn bodies_are_parts_of_the_input() {
    let mut script = Script::new();
    let input = Buffer::copy_from_slice(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nbody");
    script.connection.handle_input(input.clone()).unwrap();
    assert_eq!(script.request().body(), BodyLength::Known(6));
    match script.connection.poll_event() {
        Some(Event::Body(body)) => assert!(body == b"body" && input.slice_of(&body).is_some()),
        other => panic!("{other:?}"),
    }
    script.expect_nothing().send("ies!").expect_body("ie").expect_end().expect_error_of_bytes("s!");
}

impl Script {
    /// What is left is no request.
    fn expect_error_of_bytes(&mut self, _left: &str) {
        self.end_of_input().expect_nothing();
        assert_eq!(self.endpoint.counters().errors, 1);
    }
}

#[test]
fn chunks_are_decoded_and_trailers_kept_until_the_next_request() {
    let mut script = Script::new();
    script.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n");
    assert_eq!(script.request().body(), BodyLength::Chunked);
    script
        .send("3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n0;last\r\nT: v\r\nU:\r\n\r\nGET /n HTTP/1.1\r\nHost:\r\n\r\n");
    script.expect_body("abc").expect_body("0123456789");
    assert!(script.connection.trailers().is_none());
    script.expect_end();
    let trailers = script.connection.trailers().expect("there are some");
    assert_eq!(trailers.iter().collect::<Vec<_>>(), [(&b"T"[..], &b"v"[..]), (b"U", b"")]);
    assert_eq!(trailers.get("t"), Some(&b"v"[..]));
    script.expect_request("/n");
    assert!(script.connection.trailers().is_none());
}

#[test]
fn trailers_that_frame_route_or_authorise_are_left_out() {
    let mut script = Script::new();
    script.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
    script.send("content-Length: 5\r\nHost: evil\r\nAuthorization: x\r\nSet-Cookie: a=b\r\nDigest:  ok \r\n\r\n");
    script.request();
    script.expect_end();
    let trailers = script.connection.trailers().expect("there is one");
    assert_eq!(trailers.iter().collect::<Vec<_>>(), [(&b"Digest"[..], &b"ok"[..])]);

    script.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTE: trailers\r\n\r\n");
    script.answer("").request();
    script.expect_end();
    assert!(script.connection.trailers().is_none(), "nothing is left");
}

#[test]
fn clients_tell_whether_they_take_trailers() {
    let mut script = Script::new();
    for (version, fields, expected) in [
        ("1.1", "TE: trailers\r\n", true),
        ("1.1", "te: gzip;q=0.5, Trailers\r\n", true),
        ("1.1", "TE: gzip\r\n", false),
        ("1.1", "", false),
        ("1.0", "TE: trailers\r\nConnection: keep-alive\r\n", false),
    ] {
        script.send(format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(script.request().takes_trailers(), expected, "{version} {fields}");
        script.answer("");
    }
}

#[test]
fn one_empty_line_before_a_request_is_skipped() {
    let mut script = Script::new();
    script.send("\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r").expect_request("/1").expect_nothing();
    script.send("\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n").expect_request("/2");
    script.send("\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n").expect_error(Error::StartLine);
}

#[test]
fn later_versions_of_http_1_are_taken_for_the_latest_that_is_spoken() {
    // RFC 9110 §2.5.
    for version in ["1.2", "1.9"] {
        let head = format!("POST /count HTTP/{version}\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        for at in 0..head.len() {
            let mut script = Script::new();
            script.send(&head[..at]);
            assert!(script.connection.poll_event().is_none());
            script.send(&head[at..]);
            let request = script.request();
            assert_eq!((request.target(), request.version()), (&b"/count"[..], Version::Http11));
            assert_eq!((request.body(), request.headers().get("host")), (BodyLength::Chunked, Some(&b"a"[..])));
            assert!(request.keeps_alive());
        }
    }
}

#[test]
fn connections_persist_by_version_and_wish() {
    for (version, header, persists) in [
        ("1.1", "", true),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: foo, CLOSE ,bar\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
        ("1.0", "Keep-Alive: 5\r\n", false),
    ] {
        let mut script = Script::new();
        script.send(format!("GET / HTTP/{version}\r\nHost: a\r\n{header}\r\nGET /more HTTP/1.1\r\nHost: a\r\n\r\n"));
        script.expect_request("/");
        let said = match (persists, version) {
            (true, "1.0") => "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
            (true, _) => OK_HELLO,
            (false, _) => OK_HELLO_CLOSE,
        };
        script.answer("hello").expect_output(said);
        if persists {
            script.expect_open().expect_request("/more");
        } else {
            script.expect_closed();
        }
    }
}

#[test]
fn targets_have_the_forms_of_an_origin_server() {
    for (line, path, authority) in [
        ("GET /x?y", "/x", "a"),
        ("GET http://b:1/x?y", "/x", "b:1"),
        ("GET HTTPS://b?y", "/", "b"),
        ("OPTIONS *", "*", "a"),
        ("GET //x/y", "//x/y", "a"),
    ] {
        let mut script = Script::new();
        script.send(format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let request = script.request();
        assert_eq!(String::from_utf8_lossy(request.path()), path, "{line}");
        assert_eq!(request.authority(), Some(authority.as_bytes()), "{line}");
    }
    for line in [
        "GET *",
        "GET x",
        "GET b:80",
        "GET ftp://b/",
        "GET http:///x",
        "GET http://u@b/",
        "GET ?x",
        "GET /#x",
        "GET /a?b#",
        "GET http://b#x",
    ] {
        Script::new().send(format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n")).expect_error(Error::Target);
    }
    Script::new().send("CONNECT b:80 HTTP/1.1\r\nHost: b\r\n\r\n").expect_error(Error::Method);
}

#[test]
fn a_client_that_expects_is_told_to_continue() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n";
    let mut script = Script::new();
    script.send(head);
    assert!(script.request().expects_continue());
    assert!(script.connection.send_continue());
    assert!(!script.connection.send_continue(), "once is enough");
    script.expect_output("HTTP/1.1 100 Continue\r\n\r\n");
    script.send("x").expect_body("x").expect_end().answer("hello").expect_output(OK_HELLO).expect_open();

    // It gets another answer: nobody knows whether its body follows.
    let mut script = Script::new();
    script.send(head).request();
    script.answer("hello").expect_output(OK_HELLO_CLOSE).expect_closed();

    // It has not waited, was of the old version, or has no body.
    let mut script = Script::new();
    script.send(head).send("x").request();
    script.expect_body("x");
    assert!(!script.connection.send_continue());
    for head in [head.replace("1.1", "1.0"), head.replace("Length: 1", "Length: 0")] {
        assert!(!Script::new().send(head).request().expects_continue());
    }
    Script::new().send(head.replace("100-", "200-")).expect_error(Error::Expectation);
}

#[test]
fn after_half_a_close_requests_are_answered() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut script = Script::new();
    script.send(get).send(get).end_of_input();
    script.expect_request("/").answer("hello").expect_output(OK_HELLO);
    script.expect_request("/").answer("hello").expect_output(OK_HELLO_CLOSE).expect_closed();

    // A part of a head is no request.
    let mut script = Script::new();
    script.send(get).send("GET").end_of_input();
    script.expect_request("/").expect_nothing().answer("hello").expect_output(OK_HELLO_CLOSE).expect_closed();

    // Without any request.
    let mut script = Script::new();
    script.end_of_input().expect_nothing().expect_closed();
}

#[test]
fn a_body_that_breaks_off_is_told() {
    let mut script = Script::new();
    script.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab").end_of_input().request();
    script.expect_body("ab").expect_error(Error::Truncated).expect_nothing();
    script.answer("hello").expect_output(OK_HELLO_CLOSE).expect_closed();

    // Also when the request was answered before.
    let mut script = Script::new();
    script.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").request();
    script.answer("hello").expect_output(OK_HELLO).send("x").expect_error(Error::Chunk);
    script.expect_nothing().expect_closed();
}

#[test]
fn stopping_answers_what_has_arrived() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut script = Script::new();
    script.connection.stop();
    script.expect_closed();

    let mut script = Script::new();
    script.send(get).send(get).expect_request("/");
    script.connection.stop();
    script.answer("hello").expect_output(OK_HELLO).expect_request("/");
    script.answer("hello").expect_output(OK_HELLO_CLOSE).expect_closed();
}

#[test]
fn aborting_ends_at_once() {
    let mut script = Script::new();
    script.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect_request("/");
    script.connection.respond(crate::Status::OK, None).unwrap().stream(Some(9));
    script.connection.send_body("123").unwrap();
    script.connection.abort();
    assert!(!script.connection.should_close(), "there is output");
    script.expect_output("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123").expect_closed();
}

#[test]
fn idle_is_between_requests() {
    let mut script = Script::new();
    assert!(script.connection.is_idle());
    script.send("GET / HTTP").expect_nothing();
    assert!(!script.connection.is_idle(), "a part of a head has arrived");
    script.send("/1.1\r\nHost: a\r\n\r\n").expect_request("/");
    assert!(!script.connection.is_idle() && script.connection.in_flight() == 1);
    script.answer("hello");
    assert!(!script.connection.is_idle(), "the answer is here");
    script.expect_output(OK_HELLO);
    assert!(script.connection.is_idle());
}

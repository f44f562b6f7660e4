//! Scripts of the client's side.

use sunstar_packet::Buffer;

use crate::{BodyLength, ClientConnection, ClientEvent, Endpoint, Error, HeaderName, RequestError, Status, Version};

fn client() -> ClientConnection {
    Endpoint::default().connect()
}

fn get(client: &mut ClientConnection, method: &str) {
    client.request(method, "/", "a").unwrap().send("");
}

fn output(client: &mut ClientConnection) -> String {
    let mut out = Vec::new();
    client.poll_transmit(&mut out);
    assert!(!client.has_output());
    out.concat().escape_ascii().to_string()
}

fn shown(text: &str) -> String {
    text.as_bytes().escape_ascii().to_string()
}

fn receive(client: &mut ClientConnection, text: &str) -> Vec<ClientEvent> {
    client.handle_input(Buffer::copy_from_slice(text.as_bytes())).unwrap();
    core::iter::from_fn(|| client.poll_event()).collect()
}

#[test]
fn requests_are_written() {
    let mut client = client();
    let mut request = client.request("GET", "/x", "me:1").unwrap();
    request.header(HeaderName::constant("Accept"), "*/*").unwrap().close();
    request.send("");
    let text = "GET /x HTTP/1.1\r\nHost: me:1\r\nAccept: */*\r\nConnection: close\r\n\r\n";
    assert_eq!(output(&mut client), shown(text));

    client.request("PUT", "/", "").unwrap().send("hello");
    client.request("GET", "/given-up", "").unwrap().close();
    client.request("POST", "/", "").unwrap().stream(None);
    assert_eq!(client.request("GET", "/", "").err(), Some(RequestError::Sending));
    client.send_body("abc").unwrap();
    client.end_body().unwrap();
    let text = "PUT / HTTP/1.1\r\nHost: \r\nContent-Length: 5\r\n\r\nhello\
                POST / HTTP/1.1\r\nHost: \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(output(&mut client), shown(text));
    assert_eq!(client.in_flight(), 3);
    for (method, target, host) in [("G T", "/", ""), ("GET", "", ""), ("GET", "/ ", ""), ("GET", "/", "a\r\nB: c")] {
        assert_eq!(client.request(method, target, host).err(), Some(RequestError::BadLine));
    }
}

#[test]
fn a_body_shorter_than_announced_ends_the_connection() {
    let mut client = client();
    client.request("PUT", "/", "").unwrap().stream(Some(2));
    client.send_body("a").unwrap();
    assert!(client.end_body().is_err() && client.is_closed());
    assert_eq!(client.request("GET", "/", "").err(), Some(RequestError::Closing));
}

#[test]
fn responses_are_read() {
    let mut client = client();
    for method in ["GET", "HEAD", "GET", "GET"] {
        get(&mut client, method);
    }
    let events = receive(
        &mut client,
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX: y\r\n\r\nab\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\
         HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n\
         HTTP/1.0 404\r\n\r\nuntil the end",
    );
    let mut events = events.into_iter();
    assert!(matches!(events.next(), Some(ClientEvent::Interim(head)) if head.status() == Status::CONTINUE));
    let Some(ClientEvent::Response(head)) = events.next() else { panic!("no response") };
    assert_eq!((head.status(), head.reason(), head.body()), (Status::OK, &b"Fine"[..], BodyLength::Known(2)));
    assert_eq!((head.headers().get("x"), head.version()), (Some(&b"y"[..]), Version::Http11));
    assert!(matches!(events.next(), Some(ClientEvent::Body(body)) if body == b"ab"));
    assert!(matches!(events.next(), Some(ClientEvent::End)));
    for _ in 0..2 {
        assert!(matches!(events.next(), Some(ClientEvent::Response(head)) if head.body() == BodyLength::Empty));
    }
    let Some(ClientEvent::Response(head)) = events.next() else { panic!("no response") };
    assert_eq!((head.body(), head.keeps_alive(), head.reason()), (BodyLength::UntilClose, false, &b""[..]));
    assert!(matches!(events.next(), Some(ClientEvent::Body(body)) if body == b"until the end"));
    assert!(events.next().is_none() && client.wants_input());
    client.handle_end_of_input();
    assert!(matches!(client.poll_event(), Some(ClientEvent::End)));
    assert!(client.is_closed() && !client.wants_input());
}

#[test]
fn a_later_version_of_http_1_is_taken_for_the_latest_that_is_spoken() {
    let mut client = client();
    get(&mut client, "GET");
    let events = receive(&mut client, "HTTP/1.3 200 OK\r\nContent-Length: 0\r\n\r\n");
    let Some(ClientEvent::Response(head)) = events.first() else { panic!("{events:?}") };
    assert_eq!((head.version(), head.reason(), head.keeps_alive()), (Version::Http11, &b"OK"[..], true));
}

#[test]
fn what_was_not_asked_for_or_is_missing_is_an_error() {
    let error = |events: Vec<ClientEvent>| match events.last() {
        Some(ClientEvent::Error(error)) => *error,
        other => panic!("{other:?}"),
    };
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(error(receive(&mut client(), ok)), Error::Unasked);

    for (text, expected) in [
        ("HTTP/2.0 200 OK\r\n\r\n", Error::Version),
        ("HTTP 200 OK\r\n\r\n", Error::StartLine),
        ("HTTP/1.1 099 OK\r\n\r\n", Error::StartLine),
        ("HTTP/1.1 20 OK\r\n\r\n", Error::StartLine),
        ("HTTP/1.1 200 OK\nA: b\r\n\r\n", Error::LineEnd),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Error::ContentLength),
    ] {
        let mut client = client();
        get(&mut client, "GET");
        assert_eq!(error(receive(&mut client, text)), expected, "{text}");
        assert!(client.is_closed());
    }

    let mut client = client();
    get(&mut client, "GET");
    client.handle_end_of_input();
    assert!(matches!(client.poll_event(), Some(ClientEvent::Error(Error::Truncated))));
}

#[test]
fn an_end_between_responses_is_none_of_a_response() {
    let mut client = client();
    client.handle_end_of_input();
    assert!(client.poll_event().is_none() && client.is_closed());
}

#[test]
fn a_switch_of_protocols_is_refused() {
    let mut client = client();
    get(&mut client, "GET");
    let events = receive(&mut client, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    assert!(matches!(&events[..], [ClientEvent::Error(Error::Unasked)]), "{events:?}");
    assert!(client.is_closed());
}

#[test]
fn interim_responses_are_bounded_for_each_request() {
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(16);
    let mut client = client();
    for _ in 0..2 {
        get(&mut client, "GET");
        let events = receive(&mut client, &format!("{interim}HTTP/1.1 204 None\r\n\r\n"));
        assert!(matches!(events.last(), Some(ClientEvent::Response(_))) && events.len() == 17);
    }
    get(&mut client, "GET");
    let events = receive(&mut client, &format!("{interim}HTTP/1.1 103 Early Hints\r\n\r\n"));
    assert!(matches!(events.last(), Some(ClientEvent::Error(Error::TooManyInterim))), "{events:?}");
}

#[test]
fn a_connection_is_idle_when_nothing_is_under_way() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n";
    let mut client = client();
    assert!(client.is_idle());
    get(&mut client, "GET");
    assert!(!client.is_idle(), "a request is to be sent");
    output(&mut client);
    assert!(!client.is_idle(), "no response came");
    receive(&mut client, ok);
    assert!(!client.is_idle(), "a body is under way");
    receive(&mut client, "x");
    assert!(client.is_idle());

    client.request("POST", "/", "a").unwrap().stream(None);
    output(&mut client);
    receive(&mut client, &format!("{ok}x"));
    assert!(client.is_sending() && !client.is_idle(), "the body was not sent to its end");
    client.end_body().unwrap();
    output(&mut client);
    assert!(client.is_idle());

    client.handle_input(Buffer::from_static(b"\r\n")).unwrap();
    assert!(!client.is_idle(), "what was not asked for has come");

    let mut client = self::client();
    client.handle_end_of_input();
    assert!(!client.is_idle());
}

#[test]
fn a_body_until_the_end_of_the_connection_ends_it() {
    let mut client = client();
    get(&mut client, "GET");
    receive(&mut client, "HTTP/1.1 200 OK\r\n\r\nx");
    client.handle_end_of_input();
    assert!(matches!(client.poll_event(), Some(ClientEvent::End)));
    assert!(client.is_closed(), "whatever version the server has");
}

#[test]
fn trailers_stay_until_the_next_response() {
    let mut client = client();
    get(&mut client, "GET");
    get(&mut client, "GET");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nDigest: 42\r\nAge: 1\r\n\r\n";
    assert_eq!(receive(&mut client, chunked).len(), 3);
    let trailers = client.trailers().expect("there are some");
    assert_eq!(trailers.iter().collect::<Vec<_>>(), [(&b"Digest"[..], &b"42"[..])]);
    receive(&mut client, "HTTP/1.1 204 No Content\r\n\r\n");
    assert!(client.trailers().is_none());
}

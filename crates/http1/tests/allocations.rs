//! In steady state, requests on a connection cost no allocation.

mod counting;

use sunstar_http1::{Connection, Date, Endpoint, Event, HeaderName, Status};
use sunstar_packet::Buffer;

use counting::allocations;

const BROWSER: &str = "GET / HTTP/1.1\r\nHost: localhost:10000\r\nConnection: keep-alive\r\nCache-Control: max-age=0\r\n\
    sec-ch-ua: \"x\"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0\r\nAccept: text/html\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\nAccept-Encoding: gzip\r\nAccept-Language: en\r\n\
    Cookie: a=b\r\nIf-None-Match: x\r\nPriority: u=0\r\n\r\n";

/// Serves what was received, `count` requests, and takes what is to be sent.
fn serve(connection: &mut Connection, input: &Buffer, count: usize, body: &Buffer, out: &mut Vec<Buffer>) {
    connection.handle_input(input.clone()).expect("there is room");
    let date = Date::from_unix_seconds(0);
    for _ in 0..count {
        let Some(Event::Request(request)) = connection.poll_event() else { panic!("no request") };
        assert!(request.headers().get("host").is_some());
        let mut response = connection.respond(Status::OK, Some(&date)).expect("a request waits");
        response.header(HeaderName::CONTENT_TYPE, "text/plain").expect("a good value");
        response.send(body.clone());
    }
    assert!(connection.poll_event().is_none());
    connection.poll_transmit(out);
    out.clear();
}

fn allocations_of(request: &str, count: usize, body: Buffer) -> u64 {
    let endpoint = Endpoint::default();
    let mut connection = endpoint.accept();
    let input = Buffer::from(request.repeat(count).into_bytes());
    let mut out = Vec::new();
    let mut serve = || serve(&mut connection, &input, count, &body, &mut out);
    serve();
    let before = allocations();
    for _ in 0..100 {
        serve();
    }
    allocations() - before
}

#[test]
fn requests_on_a_connection_cost_no_allocation() {
    assert_eq!(allocations_of(BROWSER, 1, Buffer::from("hello, world")), 0);
    assert_eq!(allocations_of(BROWSER, 1, Buffer::from(vec![7; 100_000])), 0);
    assert_eq!(allocations_of("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 16, Buffer::from("hello, world")), 0);
    // It would be noticed.
    let before = allocations();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(allocations() - before, 1);
}

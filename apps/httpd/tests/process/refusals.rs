//! What is refused, and that nobody else notices.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use sunstar::http::Limits;

use super::client::{Client, HELLO, REQUEST};
use super::metrics::{figure, wait_for_figure};
use super::refused::refused;
use super::server::{Httpd, PATIENCE, with_each, with_each_backend};

const LIMITS: Limits = Limits::DEFAULT;

/// A request that must never be seen as one.
const SMUGGLED: &[u8] = b"GET /shard HTTP/1.1\r\nHost: a\r\n\r\n";

/// All that comes for these bytes until the server ends the connection.
fn response(address: SocketAddr, parts: &[&[u8]]) -> String {
    let mut client = Client::connect(address).expect("it listens");
    for part in parts {
        client.send(part).expect("the server reads to the end");
    }
    String::from_utf8(client.rest().expect("the end is in order")).expect("responses are text")
}

/// The status of each response. The last one, and no other, says that the connection ends.
fn statuses(text: &str) -> Vec<&str> {
    let responses: Vec<_> = text.split("HTTP/1.1 ").skip(1).collect();
    let (last, others) = responses.split_last().expect("there is one");
    assert!(last.contains("\r\nConnection: close\r\n"), "{text}");
    assert!(others.iter().all(|response| !response.contains("\r\nConnection: close\r\n")), "{text}");
    responses.iter().map(|response| &response[..3]).collect()
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_and_nobody_else_suffers() {
    let corpus = refused();
    with_each(|setup| {
        let httpd = Httpd::start(setup);
        let mut steady = Client::connect(httpd.address).unwrap();
        for case in &corpus {
            let (begin, end) = case.bytes.split_at(case.bytes.len() / 2);
            for parts in [&[REQUEST, &case.bytes, SMUGGLED][..], &[REQUEST, begin, end, SMUGGLED]] {
                let text = response(httpd.address, parts);
                assert_eq!(
                    statuses(&text),
                    ["200", case.status],
                    "{} by {}: {case:?}: {text}",
                    case.error,
                    case.section
                );
            }
            assert_eq!(steady.get("/").unwrap().body, HELLO);
        }
        let count = 2.0 * corpus.len() as f64;
        assert_eq!(figure(httpd.address, "sunstar_http_refused_total", ""), count);
        // The steady client, and who asks.
        wait_for_figure(httpd.address, "sunstar_http_connections_live", "", 2.0);
        httpd.stop();
    });
}

fn get(line: usize, fields: &str) -> Vec<u8> {
    let target = "x".repeat(line - "GET / HTTP/1.1\r\n".len());
    format!("GET /{target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

fn post(field: &str, body: &str) -> Vec<u8> {
    format!("POST /count HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n{body}").into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    post("Transfer-Encoding: chunked", body)
}

/// What is as large as it may be, the same with a byte more, and what that is answered.
fn bounds() -> Vec<[(Vec<u8>, &'static str); 2]> {
    // Host is one of them.
    let fields = |count: usize| "A:\r\n".repeat(count - 1);
    let field = |len_bytes: usize| format!("A:{}\r\n", "b".repeat(len_bytes - "Host: a\r\nA:\r\n\r\n".len()));
    let body_bytes = usize::try_from(LIMITS.body_bytes).expect("it is small");
    let body = "x".repeat(body_bytes);
    let extension = |len_bytes: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(len_bytes - 1));
    let trailer = |len_bytes: usize| format!("0\r\nA:{}\r\n\r\n", "b".repeat(len_bytes - 2));
    let line = LIMITS.start_line_bytes;
    vec![
        [(get(line, ""), "404"), (get(line + 1, ""), "414")],
        [(get(16, &field(LIMITS.header_bytes)), "200"), (get(16, &field(LIMITS.header_bytes + 1)), "431")],
        [(get(16, &fields(LIMITS.headers)), "200"), (get(16, &fields(LIMITS.headers + 1)), "431")],
        [
            (post(&format!("Content-Length: {body_bytes}"), &body), "200"),
            (post(&format!("Content-Length: {}", body_bytes + 1), ""), "413"),
        ],
        [
            (chunked(&format!("{body_bytes:x}\r\n{body}\r\n0\r\n\r\n")), "200"),
            (chunked(&format!("{body_bytes:x}\r\n{body}\r\n1\r\nx\r\n0\r\n\r\n")), "413"),
        ],
        [(chunked("1\r\na\r\n0\r\n\r\n"), "200"), (chunked("fffffffffffffff\r\na"), "413")],
        [
            (chunked(&extension(LIMITS.chunk_extension_bytes)), "200"),
            (chunked(&extension(LIMITS.chunk_extension_bytes + 1)), "400"),
        ],
        [(chunked(&trailer(LIMITS.trailer_bytes)), "200"), (chunked(&trailer(LIMITS.trailer_bytes + 1)), "431")],
    ]
}

#[test]
fn what_is_larger_than_it_may_be_gets_its_status() {
    let bounds = bounds();
    with_each(|setup| {
        let httpd = Httpd::start(setup);
        let before = httpd.descriptors();
        for [(good, good_status), (bad, bad_status)] in &bounds {
            let mut client = Client::connect(httpd.address).unwrap();
            client.send(good).unwrap();
            let answer = client.answer().unwrap();
            assert_eq!((answer.status(), answer.closes()), (*good_status, false), "{:?}", &good[..40]);
            let text = response(httpd.address, &[bad]);
            assert_eq!(statuses(&text), [*bad_status], "{text}");
        }
        httpd.wait_for_descriptors(before);
        httpd.stop();
    });
}

/// 64 bytes.
const CHUNK: &str = "40\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n";

#[test]
fn what_never_ends_is_ended() {
    const KINDS: &[(&str, &str)] = &[
        ("", "x"),
        ("GET /", "x"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: ", "x"),
        ("GET / HTTP/1.1\r\nHost: a\r\n", "A: b\r\n"),
        ("POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNK),
        ("POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;", "x"),
        ("POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "A: b\r\n"),
    ];
    with_each_backend(|setup| {
        let httpd = Httpd::start(setup);
        let mut steady = Client::connect(httpd.address).unwrap();
        steady.get("/").unwrap();
        let descriptors = httpd.descriptors();
        let address = httpd.address;
        thread::scope(|scope| {
            let clients: Vec<_> =
                KINDS.iter().map(|(begin, more)| scope.spawn(move || send_for_ever(address, begin, more))).collect();
            while clients.iter().any(|client| !client.is_finished()) {
                assert_eq!(steady.get("/").unwrap().body, HELLO);
            }
        });
        assert_eq!(figure(httpd.address, "sunstar_http_refused_total", ""), KINDS.len() as f64);
        httpd.wait_for_descriptors(descriptors);
        httpd.stop();
    });
}

/// Sends until the server has ended the connection.
fn send_for_ever(address: SocketAddr, begin: &str, more: &str) {
    let mut client = Client::connect(address).expect("it listens");
    let more = more.repeat(10_000).into_bytes();
    let deadline = Instant::now() + PATIENCE;
    let mut sent = client.send(begin.as_bytes());
    while sent.is_ok() {
        assert!(Instant::now() < deadline, "it goes on: {begin}");
        sent = client.send(&more);
    }
    let kind = sent.expect_err("it was ended").kind();
    assert!(matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{kind}: {begin}");
}

//! What is said about requests.

use std::cell::RefCell;
use std::time::Duration;

use sunstar_executor::timer::sleep;
use sunstar_sim::Sim;

use super::client::Client;
use super::site::{site, visit_server};
use crate::{AccessFormat, AccessLog, Limits, Server};

thread_local! {
    /// The simulator has one thread, and a test has its own.
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn logged(format: AccessFormat) -> Server<impl crate::Handler> {
    let limits = Limits { body_bytes: 1000, ..Limits::DEFAULT };
    let sink = |line| LINES.with_borrow_mut(|lines| lines.push(line));
    let unused = AccessLog::new(format, |_| unreachable!("the first log counts"));
    Server::with_limits(site, limits).with_access_log(AccessLog::new(format, sink)).with_access_log(unused)
}

/// The lines, each without the client, the date in brackets and the duration, which must be there.
fn lines() -> Vec<String> {
    LINES
        .take()
        .iter()
        .map(|line| {
            let (client, rest) = line.split_once(" - - [").expect("there is a client");
            assert!(client.parse::<std::net::IpAddr>().is_ok(), "{client}");
            let (date, rest) = rest.split_once(" +0000] ").expect("there is a date");
            assert_eq!((date.len(), date.matches('/').count(), date.matches(':').count()), (20, 2, 3), "{date}");
            let (rest, took_us) = rest.rsplit_once(' ').expect("there is a duration");
            assert!(took_us.parse::<u64>().is_ok(), "{took_us}");
            rest.to_owned()
        })
        .collect()
}

#[test]
fn each_request_has_a_line_with_what_was_sent() {
    visit_server(
        Sim::new(1),
        || logged(AccessFormat::Common),
        |_| async {
            let mut client = Client::connect().await.unwrap();
            let mut lengths = Vec::new();
            for target in ["/", "/bytes?5000", "/pieces?3", "/nothing", "/elsewhere?\"x\""] {
                client.raw(format!("GET {target} HTTP/1.1\r\nHost: server\r\n\r\n").into_bytes()).await.unwrap();
                let mut length = 0;
                // There are no other bytes than those of the response.
                while let Ok(bytes) =
                    sunstar_executor::combine::with_timeout(Duration::from_millis(100), client.stream.read()).await
                {
                    length += bytes.unwrap().len();
                }
                lengths.push(length);
            }
            let expected: Vec<_> = [
                ("/", 200),
                ("/bytes?5000", 200),
                ("/pieces?3", 200),
                ("/nothing", 500),
                ("/elsewhere?\\\"x\\\"", 404),
            ]
            .iter()
            .zip(&lengths)
            .map(|((target, status), length)| format!("\"GET {target} HTTP/1.1\" {status} {length}"))
            .collect();
            assert_eq!(lines(), expected);
            assert!(lengths[1] > 5000);
        },
    )
    .unwrap();
}

#[test]
fn the_combined_format_tells_who_and_from_where() {
    visit_server(
        Sim::new(1),
        || logged(AccessFormat::Combined),
        |_| async {
            let mut client = Client::connect().await.unwrap();
            client.raw("HEAD /bytes?7 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
            sleep(Duration::from_millis(50)).await;
            let line = lines().remove(0);
            assert!(line.starts_with("\"HEAD /bytes?7 HTTP/1.0\" 200 ") && line.ends_with(" \"-\" \"-\""), "{line}");
            let request = b"GET / HTTP/1.1\r\nHost: server\r\nReferer: x\"y\r\nUser-Agent: a\xc3\xa9\\\r\n\r\n";
            client.raw(request.to_vec()).await.unwrap();
            sleep(Duration::from_millis(50)).await;
            let line = lines().remove(0);
            assert!(line.starts_with("\"GET / HTTP/1.1\" 200 "), "{line}");
            assert!(line.ends_with(r#" "x\"y" "a\xc3\xa9\\""#), "{line}");
        },
    )
    .unwrap();
}

#[test]
fn what_is_refused_or_fails_is_told_too() {
    visit_server(
        Sim::new(1),
        || logged(AccessFormat::Common),
        |_| async {
            for (request, expected) in [
                ("GET / HTTP/2.0\r\n\r\n", "\"-\" 505 "),
                ("GET /\x01 HTTP/1.1\r\n\r\n", "\"-\" 400 "),
                (
                    "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx",
                    "\"POST /count HTTP/1.1\" 400 ",
                ),
                ("GET /fail HTTP/1.1\r\nHost: a\r\n\r\n", "\"GET /fail HTTP/1.1\" 500 "),
                // Only the answered request, not the body that breaks off behind it.
                ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx", "\"POST / HTTP/1.1\" 200 "),
            ] {
                let mut client = Client::connect().await.unwrap();
                client.raw(request.as_bytes().to_vec()).await.unwrap();
                sleep(Duration::from_millis(50)).await;
                let lines = lines();
                assert_eq!(lines.len(), 1, "{lines:?}");
                assert!(lines[0].starts_with(expected), "{lines:?}");
            }
        },
    )
    .unwrap();
}

#[test]
fn a_client_that_goes_away_has_no_status() {
    visit_server(
        Sim::new(1),
        || logged(AccessFormat::Common),
        |_| async {
            let mut client = Client::connect().await.unwrap();
            client.raw("POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx").await.unwrap();
            sleep(Duration::from_millis(50)).await;
            client.stream.abort();
            sleep(Duration::from_millis(50)).await;
            assert_eq!(lines(), ["\"POST /count HTTP/1.1\" - 0"]);
        },
    )
    .unwrap();
}

#[test]
fn a_handler_that_panics_has_a_line() {
    let failed = visit_server(
        Sim::new(1),
        || logged(AccessFormat::Common),
        |_| async {
            let mut client = Client::connect().await.unwrap();
            assert_eq!(client.get("/panic").await.unwrap().status(), 500);
        },
    );
    assert!(failed.is_err(), "the simulator knows of the panic");
    let lines = lines();
    assert!(lines.len() == 1 && lines[0].starts_with("\"GET /panic HTTP/1.1\" 500 "), "{lines:?}");
}

//! Bodies of requests and responses, on their way while they grow.

use std::time::Duration;

use sunstar_executor::timer::{now, sleep};

use super::client::Client;
use super::site::{body, quiet};

#[test]
fn responses_go_in_pieces() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        for count in [0, 1, 100] {
            let answer = client.get(&format!("/pieces?{count}")).await.unwrap();
            assert_eq!(answer.body.len(), count * (count + 1) / 2);
            assert_eq!(answer.head.headers().get("transfer-encoding"), Some(&b"chunked"[..]));
        }
        assert_eq!(client.get("/bytes?3000000").await.unwrap().body, body(3_000_000));
    });
}

#[test]
fn requests_come_in_pieces_and_are_echoed() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        for length in [None, Some(900)] {
            client.begin("/echo", length, &[]);
            for piece in body(900).chunks(100) {
                client.http.send_body(piece.to_vec()).unwrap();
                client.transmit().await.unwrap();
                sleep(Duration::from_millis(1)).await;
            }
            client.http.end_body().unwrap();
            client.transmit().await.unwrap();
            let answer = client.answer().await.unwrap();
            assert_eq!((answer.body.as_slice(), answer.closes()), (body(900).as_slice(), false));
        }
    });
}

#[test]
fn a_body_that_nobody_reads_is_dropped_and_the_connection_goes_on() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        for length in [None, Some(1000)] {
            client.begin("/", length, &[]);
            client.http.send_body(body(1000)).unwrap();
            client.http.end_body().unwrap();
            client.transmit().await.unwrap();
            assert_eq!(client.answer().await.unwrap().body, b"hello, world");
        }
    });
}

#[test]
fn a_wait_for_the_body_may_be_dropped() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        client.begin("/impatient", None, &[]);
        for piece in body(900).chunks(30) {
            client.http.send_body(piece.to_vec()).unwrap();
            client.transmit().await.unwrap();
            sleep(Duration::from_micros(333)).await;
        }
        client.http.end_body().unwrap();
        client.transmit().await.unwrap();
        assert_eq!(client.answer().await.unwrap().body, b"900");
    });
}

#[test]
fn who_waits_to_be_asked_for_the_body_is_asked_if_it_is_wanted() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        client.begin("/count", Some(500), &[("Expect", "100-continue")]);
        client.transmit().await.unwrap();
        sleep(Duration::from_millis(10)).await;
        let interim = client.stream.read().await.unwrap();
        assert_eq!(interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        client.http.send_body(body(500)).unwrap();
        client.http.end_body().unwrap();
        client.transmit().await.unwrap();
        assert_eq!(client.answer().await.unwrap().body, b"500");

        // Nobody wants this one, and nobody can tell whether it comes.
        client.begin("/", Some(500), &[("Expect", "100-continue")]);
        client.transmit().await.unwrap();
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.body.as_slice(), answer.closes(), client.interim), (&b"hello, world"[..], true, 0));
        client.closed().await;
    });
}

#[test]
fn trailers_come_and_go_behind_chunks() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        for (fields, expected) in [("Digest: 42\r\nHost: x\r\n", "42"), ("", "none")] {
            let head = "POST /trailers HTTP/1.1\r\nHost: server\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n";
            client.ask("GET", "/");
            client.transmit().await.unwrap();
            client.answer().await.unwrap();
            // The client's machine sends no trailers, but must know that something was asked.
            client.ask("POST", "/");
            client.http.poll_transmit(&mut Vec::new());
            client.raw(format!("{head}2\r\nab\r\n0\r\n{fields}\r\n").into_bytes()).await.unwrap();
            let answer = client.answer().await.unwrap();
            assert_eq!((answer.status(), answer.body.as_slice()), (200, &b"2"[..]));
            assert_eq!(answer.head.headers().get("trailer"), Some(&b"Digest"[..]));
            assert_eq!(client.http.trailers().unwrap().get("digest"), Some(expected.as_bytes()));
        }
    });
}

#[test]
fn a_piece_of_a_response_leaves_before_the_next_one_is_made() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        client.ask("GET", "/trickle");
        client.transmit().await.unwrap();
        let begun = now();
        let first = client.stream.read().await.unwrap();
        assert!(first.ends_with(b"5\r\nfirst\r\n") && now() - begun < Duration::from_secs(1));
        client.http.handle_input(first).unwrap();
        assert_eq!(client.answer().await.unwrap().body, b"firstsecond");
    });
}

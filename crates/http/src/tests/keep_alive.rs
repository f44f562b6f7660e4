//! Connections that carry one request after another.

use std::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::timer::{now, sleep};

use super::client::{Client, Ending};
use super::site::{body, quiet};

#[test]
fn a_connection_serves_many_requests() {
    let stats = quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        for _ in 0..100 {
            let answer = client.get("/").await.unwrap();
            assert_eq!((answer.status(), answer.body.as_slice(), answer.closes()), (200, &b"hello, world"[..], false));
            assert!(answer.head.headers().get("date").is_some());
        }
        assert_eq!(client.get("/elsewhere").await.unwrap().status(), 404);
    });
    assert_eq!((stats.accepted, stats.requests, stats.refused, stats.failed), (1, 101, 0, 0));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        // The first ones take longest.
        for wait in (0..20).rev() {
            client.ask("GET", &format!("/sleep?{wait}"));
            client.ask("GET", &format!("/bytes?{wait}"));
        }
        client.transmit().await.unwrap();
        for wait in (0..20).rev() {
            assert_eq!(client.answer().await.unwrap().body, b"slept");
            assert_eq!(client.answer().await.unwrap().body, body(wait));
        }
    });
}

#[test]
fn a_response_does_not_wait_for_the_handler_of_a_later_request() {
    quiet(|| async {
        for (target, body) in [("/sleep?1000", &b"slept"[..]), ("/begun?1000", b"begun"), ("/count", b"8")] {
            let mut client = Client::connect().await.unwrap();
            client.ask("GET", "/");
            client.ask("GET", "/");
            if target == "/count" {
                // The handler has read of the body what is there when it waits for something else.
                client.begin("/count?1000", Some(8), &[]);
                client.http.send_body("12345678").unwrap();
                client.http.end_body().unwrap();
            } else {
                client.ask("GET", target);
            }
            client.transmit().await.unwrap();
            let asked = now();
            for _ in 0..2 {
                assert_eq!(client.answer().await.unwrap().body, b"hello, world");
            }
            assert!(now() - asked < Duration::from_millis(500), "{target}: {:?}", now() - asked);
            assert_eq!(client.answer().await.unwrap().body, body);
            assert!(now() - asked >= Duration::from_secs(1));
        }
    });
}

#[test]
fn a_response_does_not_wait_for_what_its_handler_does_afterwards() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        let asked = now();
        assert_eq!(client.get("/afterwards?1000").await.unwrap().body, b"before");
        assert!(now() - asked < Duration::from_millis(500));
        assert_eq!(client.get("/").await.unwrap().body, b"hello, world");
        assert!(now() - asked >= Duration::from_secs(1), "the next request waits");
    });
}

#[test]
fn the_head_of_a_body_that_comes_later_leaves_together_with_it() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        client.raw("GET /begun?1000 HTTP/1.1\r\nHost: server\r\n\r\n").await.unwrap();
        assert!(with_timeout(Duration::from_millis(999), client.stream.read()).await.is_err());
        let bytes = client.stream.read().await.unwrap();
        assert!(bytes.starts_with(b"HTTP/1.1 200") && bytes.ends_with(b"begun\r\n0\r\n\r\n"), "{bytes:?}");
    });
}

#[test]
fn a_response_that_finds_no_room_leaves_while_the_handler_of_a_later_request_runs() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        // Less than makes the server wait for the client by itself, more than the network holds.
        for target in ["/bytes?3000000", "/", "/sleep?1000"] {
            client.ask("GET", target);
        }
        client.transmit().await.unwrap();
        let asked = now();
        assert_eq!(client.answer().await.unwrap().body.len(), 3_000_000);
        assert_eq!(client.answer().await.unwrap().body, b"hello, world");
        assert!(now() - asked < Duration::from_millis(500), "{:?}", now() - asked);
        assert_eq!(client.answer().await.unwrap().body, b"slept");
    });
}

#[test]
fn whoever_sends_no_more_gets_all_answers() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        for _ in 0..200 {
            client.ask("GET", "/bytes?5000");
        }
        client.transmit().await.unwrap();
        client.stream.shutdown();
        let (answers, ending) = client.answers().await;
        assert_eq!((answers.len(), ending), (200, Ending::Closed));
        assert!(answers.iter().all(|answer| answer.body == body(5000)));
    });
}

#[test]
fn clients_and_handlers_close_when_they_want() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        assert!(client.get("/close").await.unwrap().closes());
        client.closed().await;

        let mut client = Client::connect().await.unwrap();
        let mut last = client.http.request("GET", "/", "server").unwrap();
        last.close();
        last.send("");
        client.transmit().await.unwrap();
        assert!(client.answer().await.unwrap().closes());
        let begun = now();
        client.closed().await;
        assert!(now() - begun < Duration::from_millis(100), "nothing is waited for");

        let mut client = Client::connect().await.unwrap();
        client.raw("GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut all = Vec::new();
        loop {
            let bytes = client.stream.read().await.unwrap();
            if bytes.is_empty() {
                break;
            }
            all.extend_from_slice(&bytes);
        }
        let all = String::from_utf8(all).unwrap();
        assert!(all.starts_with("HTTP/1.1 200 OK\r\n") && all.ends_with("\r\n\r\nhello, world"), "{all}");
    });
}

#[test]
fn head_is_answered_without_body() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        for target in ["/", "/pieces?3", "/bytes?4000"] {
            client.ask("HEAD", target);
        }
        client.ask("GET", "/");
        client.transmit().await.unwrap();
        let length = |answer: &super::client::Answer| answer.head.headers().get("content-length").map(<[u8]>::to_vec);
        assert_eq!(length(&client.answer().await.unwrap()), Some(b"12".to_vec()));
        assert_eq!(length(&client.answer().await.unwrap()), None);
        assert_eq!(length(&client.answer().await.unwrap()), Some(b"4000".to_vec()));
        assert_eq!(client.answer().await.unwrap().body, b"hello, world");
    });
}

#[test]
fn a_client_that_vanishes_takes_nothing_with_it() {
    let stats = quiet(|| async {
        for target in ["/", "/bytes?1000000", "/pieces?2000", "/sleep?500"] {
            let mut client = Client::connect().await.unwrap();
            client.ask("GET", target);
            client.transmit().await.unwrap();
            sleep(Duration::from_millis(5)).await;
            client.stream.abort();
        }
        let mut client = Client::connect().await.unwrap();
        client.raw("GET / HT").await.unwrap();
        drop(client);
        let mut client = Client::connect().await.unwrap();
        client.raw("POST /count HTTP/1.1\r\nHost: server\r\nContent-Length: 10\r\n\r\n123").await.unwrap();
        drop(client);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(Client::connect().await.unwrap().get("/").await.unwrap().status(), 200);
        sleep(Duration::from_millis(10)).await;
    });
    assert_eq!((stats.accepted, stats.live), (7, 0));
    assert!(stats.failed >= 2, "{stats:?}");
}

#[test]
fn a_client_that_does_not_read_is_waited_for_while_others_are_served() {
    let stats = quiet(|| async {
        let mut stuck = Client::connect().await.unwrap();
        for _ in 0..1000 {
            stuck.ask("GET", "/bytes?100000");
        }
        stuck.transmit().await.unwrap();
        sleep(Duration::from_secs(60)).await;
        for _ in 0..4 {
            assert_eq!(Client::connect().await.unwrap().get("/").await.unwrap().status(), 200);
        }
    });
    assert!(stats.requests < 20, "what is not taken is not asked for: {stats:?}");
}

#[test]
fn a_reset_between_requests_is_no_failure() {
    let stats = quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        client.get("/").await.unwrap();
        client.stream.abort();
        sleep(Duration::from_millis(10)).await;
    });
    assert_eq!((stats.requests, stats.live, stats.failed), (1, 0, 0));
}

//! What is refused, and that the client gets to know.

use std::time::Duration;

use sunstar_executor::timer::{now, sleep};

use super::client::{Client, Ending};
use super::site::{body, quiet};

/// Sends bytes and goes on sending; expects to be refused with this status.
async fn refused(bytes: &[u8], status: u16) {
    let mut client = Client::connect().await.unwrap();
    // So that a response is expected; the server has not to see it.
    client.ask("GET", "/");
    client.http.poll_transmit(&mut Vec::new());
    client.raw(bytes.to_vec()).await.unwrap();
    for _ in 0..20 {
        client.raw(vec![b'x'; 10_000]).await.unwrap();
    }
    let answer = client.answer().await.unwrap();
    // Who answers before it has looked at the body can't say that it will be refused.
    assert_eq!((answer.status(), answer.closes()), (status, status != 200));
    client.closed().await;
}

#[test]
fn a_refused_client_sees_why_though_it_goes_on_sending() {
    let stats = quiet(|| async {
        refused(b"NONSENSE\r\n\r\n", 400).await;
        refused(b"GET / HTTP/1.1\r\n\r\n", 400).await;
        refused(b"POST /count HTTP/1.1\r\nHost: server\r\nContent-Length: 1001\r\n\r\n", 413).await;
        refused(b"POST /count HTTP/1.1\r\nHost: server\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n", 413).await;
        refused(b"POST / HTTP/1.1\r\nHost: server\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n", 200).await;
        refused(b"POST /count HTTP/1.1\r\nHost: server\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n", 400).await;
        refused(&[b"GET / HTTP/1.1\r\nHost: server\r\nA: ", vec![b'a'; 20_000].as_slice(), b"\r\n\r\n"].concat(), 431)
            .await;
        refused(b"GET / HTTP/2.0\r\nHost: server\r\n\r\n", 505).await;
    });
    assert_eq!((stats.accepted, stats.refused, stats.failed), (8, 8, 0));
}

#[test]
fn what_came_before_a_refused_request_is_answered() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        for target in ["/sleep?10", "/", "/"] {
            client.ask("GET", target);
        }
        let mut buffers = Vec::new();
        client.http.poll_transmit(&mut buffers);
        let mut bytes: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.to_vec()).collect();
        // The last one is spoilt.
        let last = bytes.len() - 4;
        bytes[last..].copy_from_slice(b"\n\n\n\n");
        client.raw(bytes).await.unwrap();
        let (answers, ending) = client.answers().await;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status()).collect();
        assert_eq!((statuses, ending), (vec![200, 200, 400], Ending::Closed));
    });
}

#[test]
fn a_refused_client_that_looks_at_nothing_before_it_has_sent_all_sees_why() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        client.ask("GET", "/");
        client.http.poll_transmit(&mut Vec::new());
        client.raw("POST /count HTTP/1.1\r\nHost: server\r\nContent-Length: 2000\r\n\r\n").await.unwrap();
        for _ in 0..20 {
            sleep(Duration::from_secs(1)).await;
            client.raw(vec![b'x'; 100]).await.unwrap();
        }
        assert_eq!(client.answer().await.unwrap().status(), 413);
        client.closed().await;
    });
}

/// A client that was told that the connection ends.
async fn left() -> Client {
    let mut client = Client::connect().await.unwrap();
    client.ask("GET", "/");
    client.http.poll_transmit(&mut Vec::new());
    client.raw("NONSENSE\r\n\r\n").await.unwrap();
    assert_eq!(client.answer().await.unwrap().status(), 400);
    client
}

#[test]
fn a_refused_client_that_stays_is_left() {
    quiet(|| async {
        let mut client = left().await;
        let begun = now();
        while client.raw("more").await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
        assert!((29..32).contains(&(now() - begun).as_secs()));

        let mut client = left().await;
        sleep(Duration::from_secs(3)).await;
        client.raw("more").await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert!(client.raw("more").await.is_err(), "who says nothing is left earlier");
    });
}

#[test]
fn an_early_response_reaches_a_client_that_goes_on_sending() {
    quiet(|| async {
        for (target, field) in [("/close", ""), ("/", "Connection: close\r\n")] {
            let mut client = Client::connect().await.unwrap();
            client.ask("GET", "/");
            client.http.poll_transmit(&mut Vec::new());
            let head = format!("POST {target} HTTP/1.1\r\nHost: server\r\nContent-Length: 900\r\n{field}\r\n");
            client.raw(head.into_bytes()).await.unwrap();
            for piece in body(900).chunks(90) {
                client.raw(piece.to_vec()).await.unwrap();
                sleep(Duration::from_millis(2)).await;
            }
            assert_eq!(client.answer().await.unwrap().status(), 200);
            client.closed().await;
        }
    });
}

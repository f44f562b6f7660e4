//! Servers that don't know `Expect: 100-continue` (RFC 9110 §10.1.1, §15.5.18).

use sunstar_http1::BodyError;

use super::world::{Peer, at, scripted};
use crate::client::{ClientError, ClientOptions, ClientStats, RetryPolicy};

/// Refuses to be asked; what comes without a question is answered by its body.
async fn unasked(mut peer: Peer) {
    while let Some(head) = peer.head().await {
        if head.contains("Expect:") {
            peer.say("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno").await;
            continue;
        }
        let body = if head.contains("chunked") { peer.take(15).await } else { peer.take(5).await };
        peer.answer(&String::from_utf8(body).expect("text")).await;
    }
}

/// Nothing is retried for other reasons.
fn options() -> ClientOptions {
    ClientOptions { connections_per_host: 1, retry: RetryPolicy::NEVER, ..ClientOptions::default() }
}

/// Each request was sent twice, each time on a connection of its own: what follows half a request would be its body.
fn assert_sent_twice(stats: &ClientStats) {
    assert_eq!((stats.requests, stats.retried, stats.responses), (1, 1, 2));
    assert_eq!((stats.connected, stats.reused, stats.broken_off, stats.idle), (2, 0, 1, 1));
}

#[test]
fn a_request_whose_question_was_refused_is_sent_without_it() {
    let stats = scripted(options(), unasked, |client| async move {
        let mut response = client.post(&at("/")).body("hello").expect_continue().send().await.unwrap();
        assert_eq!(response.status().code(), 200);
        assert_eq!(response.collect(10).await.unwrap(), b"hello");
    });
    assert_sent_twice(&stats);
}

#[test]
fn an_upload_whose_question_was_refused_is_begun_without_it() {
    for length in [Some(5), None] {
        let stats = scripted(options(), unasked, move |client| async move {
            let mut upload = client.post(&at("/")).expect_continue().stream(length).await.unwrap();
            assert!(!upload.is_answered());
            upload.send_body("hello").await.unwrap();
            let mut response = upload.finish().await.unwrap();
            assert_eq!(response.status().code(), 200);
            assert!(response.collect(100).await.unwrap().windows(5).any(|bytes| bytes == b"hello"));
        });
        assert_sent_twice(&stats);
    }
}

#[test]
fn a_second_refusal_is_the_answer() {
    let never = |mut peer: Peer| async move {
        while peer.head().await.is_some() {
            peer.say("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n").await;
        }
    };
    let stats = scripted(options(), never, |client| async move {
        let response = client.post(&at("/")).body("hello").expect_continue().send().await.unwrap();
        assert_eq!(response.status().code(), 417);
    });
    assert_eq!((stats.retried, stats.responses), (1, 2));
    // Without a question nothing is repeated, nor where there is nothing to ask about.
    let stats = scripted(options(), never, |client| async move {
        let response = client.post(&at("/")).body("hello").send().await.unwrap();
        assert_eq!(response.status().code(), 417);
        let response = client.post(&at("/")).expect_continue().send().await.unwrap();
        assert_eq!(response.status().code(), 417);
    });
    assert_eq!((stats.retried, stats.responses), (0, 2));
}

#[test]
fn an_upload_that_has_begun_is_not_sent_again() {
    let late = |mut peer: Peer| async move {
        peer.head().await;
        peer.take(5).await;
        peer.say("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n").await;
        peer.closed().await;
    };
    let stats = scripted(options(), late, |client| async move {
        // The server says nothing to the question, so the body is sent in the end.
        let mut upload = client.post(&at("/")).expect_continue().stream(Some(5)).await.unwrap();
        upload.send_body("hello").await.unwrap();
        assert_eq!(upload.send_body("!").await, Err(ClientError::Body(BodyError::TooLong)));
        assert_eq!(upload.finish().await.unwrap().status().code(), 417);
    });
    assert_eq!((stats.retried, stats.responses), (0, 1));
}

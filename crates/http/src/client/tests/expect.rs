//! Servers that don't know `Expect: 100-continue` (RFC 9110 §10.1.1, §15.5.18).

use std::time::Duration;

use sunstar_executor::spawn;
use sunstar_executor::timer::sleep;
use sunstar_http1::BodyError;

use super::world::{Peer, at, get, scripted};
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

/// Refuses to be asked when it has the body; answers by the method.
async fn unasked_in_the_end(mut peer: Peer) {
    while let Some(head) = peer.head().await {
        if head.starts_with("POST") {
            peer.take(5).await;
        }
        if head.contains("Expect:") {
            peer.say("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n").await;
        } else {
            peer.answer(head.split(' ').next().expect("a method")).await;
        }
    }
}

/// What a client counts whose only connection somebody waits for, and keeps for long, while a question is refused.
fn with_a_waiter<S: Future<Output = ()> + 'static>(script: impl Fn(Peer) -> S + 'static) -> ClientStats {
    let waits = Duration::from_secs(2);
    let options = ClientOptions { waiting_per_host: 1, wait_timeout: waits, ..options() };
    scripted(options, script, move |client| async move {
        let other = client.clone();
        let asking = spawn(async move {
            let mut response = other.post(&at("/")).body("hello").expect_continue().send().await?;
            response.collect(10).await
        });
        sleep(Duration::from_micros(1)).await;
        let other = client.clone();
        let waiter = spawn(async move {
            let response = other.get(&at("/")).send().await;
            sleep(waits * 2).await;
            response.map(drop)
        });
        sleep(Duration::from_micros(1)).await;
        assert_eq!(client.stats().waiting, 1);
        assert_eq!(get(&client, "/").await, Err(ClientError::Busy));
        assert!(asking.await.unwrap().is_ok(), "it does not wait again");
        assert_eq!(waiter.await.unwrap(), Ok(()));
    })
}

#[test]
fn a_request_whose_question_was_refused_keeps_its_place() {
    let at_once = |mut peer: Peer| async move {
        while let Some(head) = peer.head().await {
            if head.contains("Expect:") {
                peer.say("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno").await;
                continue;
            }
            let _body = if head.starts_with("POST") { peer.take(5).await } else { Vec::new() };
            peer.answer("yes").await;
        }
    };
    let stats = with_a_waiter(at_once);
    assert_eq!((stats.connected, stats.reused, stats.broken_off, stats.waited_in_vain), (2, 1, 1, 0));
    // Its connection is of use again.
    let stats = with_a_waiter(unasked_in_the_end);
    assert_eq!((stats.connected, stats.reused, stats.broken_off, stats.waited_in_vain), (1, 2, 0, 0));
}

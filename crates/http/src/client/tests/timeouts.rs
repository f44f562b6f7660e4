//! Servers that take their time, on the virtual clock.

use std::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::timer::{now, sleep};
use sunstar_net::Stream;

use super::world::{Peer, at, get, scripted};
use crate::Pace;
use crate::client::{Authority, Client, ClientError, ClientOptions, Phase, RequestBuilder};

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Whether so much time has passed, give or take a tenth of a second.
fn is_about(passed: Duration, expected: Duration) -> bool {
    (expected..expected + Duration::from_millis(100)).contains(&passed)
}

#[test]
fn a_response_that_does_not_begin_ends_by_the_timeout() {
    let silent = |mut peer: Peer| async move {
        peer.head().await;
        peer.say("HTTP/1.1 200 OK\r\n").await;
        peer.closed().await;
    };
    let options = ClientOptions { head_timeout: seconds(7), ..ClientOptions::default() };
    let stats = scripted(options, silent, |client| async move {
        let begun = now();
        assert_eq!(get(&client, "/").await, Err(ClientError::TimedOut(Phase::Head)));
        assert!(is_about(now() - begun, seconds(7)));
    });
    assert_eq!((stats.timed_out, stats.connected, stats.retried, stats.open), (1, 1, 0, 0));
}

#[test]
fn a_body_may_take_long_but_not_stand_still() {
    let dripping = |mut peer: Peer| async move {
        peer.head().await;
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 110000\r\n\r\n").await;
        for _ in 0..5 {
            sleep(seconds(20)).await;
            peer.say(vec![b'x'; 11_000]).await;
        }
        peer.closed().await;
    };
    let stats = scripted(ClientOptions::default(), dripping, |client| async move {
        let mut response = client.get(&at("/")).send().await.unwrap();
        let mut left = 55_000;
        while left > 0 {
            left -= response.body().await.unwrap().unwrap().len();
        }
        let begun = now();
        for _ in 0..2 {
            assert_eq!(response.body().await, Err(ClientError::TimedOut(Phase::Body)), "and again");
        }
        assert!(is_about(now() - begun, seconds(30)));
        assert_eq!(client.stats().open, 0);
    });
    assert_eq!((stats.timed_out, stats.too_slow, stats.broken_off), (1, 0, 1));
}

/// Sends a byte of a body every 29 seconds.
async fn drip(mut peer: Peer) {
    peer.head().await;
    peer.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for _ in 0..100 {
        sleep(seconds(29)).await;
        peer.say("1\r\nx\r\n").await;
    }
    peer.say("0\r\n\r\n").await;
}

#[test]
fn a_body_may_not_drip() {
    let body = Pace { stall: seconds(30), bytes_per_second: 500 };
    let stats = scripted(ClientOptions { body, ..ClientOptions::default() }, drip, |client| async move {
        let mut response = client.get(&at("/")).send().await.unwrap();
        let begun = now();
        assert_eq!(response.body().await.unwrap().unwrap(), b"x");
        for _ in 0..2 {
            assert_eq!(response.body().await, Err(ClientError::TimedOut(Phase::BodyRate)), "and again");
        }
        // What is left of the first 30 s, and what a byte is worth.
        assert!(is_about(now() - begun, seconds(30)));
        assert_eq!(client.stats().open, 0);
    });
    assert_eq!((stats.timed_out, stats.too_slow, stats.broken_off), (0, 1, 1));
}

#[test]
fn waits_that_are_given_up_count_and_the_time_between_them_does_not() {
    let silent = |mut peer: Peer| async move {
        peer.head().await;
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n").await;
        peer.closed().await;
    };
    let stats = scripted(ClientOptions::default(), silent, |client| async move {
        let mut response = client.get(&at("/")).send().await.unwrap();
        for _ in 0..29 {
            assert!(with_timeout(seconds(1), response.body()).await.is_err());
            sleep(seconds(2)).await;
        }
        let begun = now();
        assert_eq!(response.body().await, Err(ClientError::TimedOut(Phase::Body)));
        assert!(is_about(now() - begun, seconds(1)));
    });
    assert_eq!((stats.timed_out, stats.too_slow), (1, 0));
}

#[test]
fn a_body_may_drip_where_any_progress_will_do() {
    let stats = scripted(ClientOptions::default(), drip, |client| async move {
        let mut response = client.get(&at("/")).send().await.unwrap();
        for _ in 0..100 {
            assert_eq!(response.body().await.unwrap().unwrap(), b"x");
        }
        assert_eq!(response.body().await, Ok(None));
    });
    assert_eq!((stats.timed_out, stats.too_slow), (0, 0));
}

#[test]
fn a_request_may_have_a_pace_of_its_own() {
    let options =
        ClientOptions { body: Pace { stall: seconds(30), bytes_per_second: 500 }, ..ClientOptions::default() };
    let stats = scripted(options, drip, |client| async move {
        let ask = async |request: RequestBuilder<'_>, is_upload| {
            if is_upload { request.stream(None).await.unwrap().finish().await } else { request.send().await }
        };
        for (stall, bytes_per_second, expected) in [
            (30, 0, Ok(Some("x".into()))),
            (0, 500, Ok(Some("x".into()))),
            (60, 500, Err(ClientError::TimedOut(Phase::BodyRate))),
            (10, 0, Err(ClientError::TimedOut(Phase::Body))),
        ] {
            for is_upload in [false, true] {
                let pace = Pace { stall: seconds(stall), bytes_per_second };
                let mut response = ask(client.post(&at("/")).body_pace(pace), is_upload).await.unwrap();
                let mut last = response.body().await;
                for _ in 0..9 {
                    if last.is_ok() {
                        last = response.body().await;
                    }
                }
                assert_eq!(last, expected, "{pace:?}");
            }
        }
    });
    assert_eq!((stats.timed_out, stats.too_slow), (2, 2));
}

#[test]
fn without_a_stall_a_body_may_stand_still() {
    let late = |mut peer: Peer| async move {
        while let Some(head) = peer.head().await {
            sleep(seconds(100)).await;
            if head.starts_with("POST") {
                peer.take(4 << 20).await;
            }
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").await;
            sleep(seconds(100)).await;
            peer.say("ok").await;
        }
    };
    let body = Pace { stall: Duration::ZERO, bytes_per_second: 500 };
    let options = ClientOptions { body, head_timeout: seconds(200), ..ClientOptions::default() };
    let stats = scripted(options, late, |client| async move {
        let begun = now();
        assert_eq!(get(&client, "/").await.unwrap(), "ok");
        let mut response = client.post(&at("/")).body(vec![0; 4 << 20]).send().await.unwrap();
        assert_eq!(response.collect(10).await.unwrap(), b"ok");
        let mut upload = client.post(&at("/")).stream(Some(4 << 20)).await.unwrap();
        upload.send_body(vec![0; 4 << 20]).await.unwrap();
        assert_eq!(upload.finish().await.unwrap().collect(10).await.unwrap(), b"ok");
        assert!(now() - begun >= seconds(600));
    });
    assert_eq!((stats.connected, stats.timed_out, stats.too_slow), (1, 0, 0));
}

#[test]
fn a_request_that_is_not_taken_ends_by_the_timeout() {
    let deaf = |mut peer: Peer| async move {
        peer.head().await;
        sleep(seconds(500)).await;
    };
    let stats = scripted(ClientOptions::default(), deaf, |client| async move {
        for whole in [true, false] {
            let begun = now();
            let request = client.post(&at("/"));
            let error = if whole {
                request.body(vec![0; 100 << 20]).send().await.err()
            } else {
                let mut upload = request.stream(None).await.unwrap();
                loop {
                    if let Err(error) = upload.send_body(vec![0; 10 << 10]).await {
                        break Some(error);
                    }
                }
            };
            assert_eq!(error, Some(ClientError::TimedOut(Phase::Send)));
            assert!(is_about(now() - begun, seconds(30)));
        }
    });
    assert_eq!((stats.timed_out, stats.broken_off, stats.open), (2, 2, 0));
}

#[test]
fn a_large_body_may_take_long_to_be_taken() {
    let slow = |mut peer: Peer| async move {
        peer.head().await;
        for _ in 0..16 {
            sleep(seconds(10)).await;
            peer.take(256 << 10).await;
        }
        peer.answer("thanks").await;
        peer.closed().await;
    };
    scripted(ClientOptions::default(), slow, |client| async move {
        let begun = now();
        let mut response = client.post(&at("/")).body(vec![0; 4 << 20]).send().await.unwrap();
        assert_eq!(response.collect(100).await.unwrap(), b"thanks");
        assert!(now() - begun >= seconds(160));
    });
}

#[test]
fn connections_that_do_not_come_about_end_by_the_timeout_and_are_tried_again() {
    let stuck = |_: Authority| core::future::pending::<Result<Stream, ClientError>>();
    let mut sim = sunstar_sim::Sim::new(1);
    sim.host("client", 1, move || async move {
        let client = Client::with_connector(ClientOptions::default(), stuck);
        let begun = now();
        let outcome = client.post("http://server/").send().await;
        assert_eq!(outcome.err(), Some(ClientError::TimedOut(Phase::Connect)));
        assert!(is_about(now() - begun, seconds(30) + Duration::from_millis(150)), "three times, with pauses");
        let stats = client.stats();
        assert_eq!((stats.timed_out, stats.connect_failed, stats.open), (3, 3, 0));
    });
    sim.run().unwrap();
}

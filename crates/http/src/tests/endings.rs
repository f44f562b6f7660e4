//! Handlers that answer nothing, not all, or an error.

use std::future::Future;
use std::time::Duration;

use sunstar_executor::timer::sleep;
use sunstar_net::Error;
use sunstar_sim::{Failure, Sim};

use super::client::{Client, Ending};
use super::site::{quiet, visit};

/// The statuses of the responses to pipelined requests for these, and how the connection ended.
async fn statuses(targets: &[&str]) -> (Vec<u16>, Ending) {
    let mut client = Client::connect().await.unwrap();
    for target in targets {
        client.ask("GET", target);
    }
    client.transmit().await.unwrap();
    client.stream.shutdown();
    let (answers, ending) = client.answers().await;
    (answers.iter().map(|answer| answer.status()).collect(), ending)
}

#[test]
fn what_a_handler_leaves_unanswered_is_answered_by_500_and_the_connection_goes_on() {
    let stats = quiet(|| async {
        assert_eq!(statuses(&["/nothing", "/", "/begin", "/"]).await, (vec![500, 200, 500, 200], Ending::Closed));
    });
    assert_eq!((stats.requests, stats.failed), (4, 0));
}

#[test]
fn a_response_that_is_not_finished_ends_the_connection_within() {
    let stats = quiet(|| async {
        assert_eq!(statuses(&["/", "/break-off", "/"]).await, (vec![200], Ending::BrokenOff));
        assert_eq!(statuses(&["/", "/short", "/"]).await, (vec![200], Ending::BrokenOff));
    });
    assert_eq!((stats.requests, stats.failed), (4, 1));
}

#[test]
fn a_failing_handler_ends_the_connection_after_the_responses_before() {
    let stats = quiet(|| async {
        assert_eq!(statuses(&["/", "/", "/fail", "/"]).await, (vec![200, 200, 500], Ending::Closed));
    });
    assert_eq!((stats.requests, stats.failed), (3, 1));
}

#[test]
fn a_connection_behind_the_server_that_fails_is_not_the_clients() {
    let stats = quiet(|| async {
        // The client goes on sending, and sees the answer nevertheless.
        let mut client = Client::connect().await.unwrap();
        client.ask("GET", "/");
        client.http.poll_transmit(&mut Vec::new());
        client.raw("POST /upstream HTTP/1.1\r\nHost: server\r\nContent-Length: 900\r\n\r\n").await.unwrap();
        for _ in 0..9 {
            client.raw(vec![b'x'; 100]).await.unwrap();
            sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(client.answer().await.unwrap().status(), 500);
        client.closed().await;
    });
    assert_eq!(stats.failed, 1);
}

#[test]
fn a_body_that_is_refused_while_it_is_echoed_breaks_the_response_off() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        client.begin("/echo", None, &[]);
        client.http.send_body(vec![b'x'; 900]).unwrap();
        client.http.send_body(vec![b'x'; 900]).unwrap();
        client.transmit().await.unwrap();
        assert_eq!(client.answer().await.unwrap_err(), Ending::BrokenOff);
    });
}

#[test]
fn a_panic_ends_its_connection_alone() {
    panicking(|| async {
        let mut other = Client::connect().await.unwrap();
        assert_eq!(statuses(&["/panic", "/"]).await, (vec![500], Ending::Closed));
        assert_eq!(other.get("/").await.unwrap().status(), 200);
    });
}

#[test]
fn what_leaves_at_the_end_of_a_connection_that_panics_is_timed_too() {
    panicking(|| async {
        assert_eq!(statuses(&["/", "/panic"]).await, (vec![200, 500], Ending::Closed));
        let text = Client::connect().await.unwrap().get("/metrics").await.unwrap().body;
        let text = String::from_utf8(text).unwrap();
        let timed = text.lines().filter(|line| line.starts_with("sunstar_http_response_seconds_count"));
        let timed: f64 = timed.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
        assert_eq!(timed, 2.0, "{text}");
    });
}

#[test]
fn a_panic_takes_no_response_with_it_that_was_complete() {
    panicking(|| async {
        assert_eq!(statuses(&["/", "/", "/panic", "/"]).await, (vec![200, 200, 500], Ending::Closed));
    });
}

#[test]
fn a_response_that_only_the_end_of_the_connection_ends_is_reset_when_it_breaks_off() {
    async fn is_reset(target: &str) {
        let mut client = Client::connect().await.unwrap();
        client.raw(format!("GET {target} HTTP/1.0\r\n\r\n").into_bytes()).await.unwrap();
        let ending = loop {
            match client.stream.read().await {
                Ok(bytes) if bytes.is_empty() => break None,
                Ok(_) => {}
                Err(error) => break Some(error),
            }
        };
        assert_eq!(ending, Some(Error::ConnectionReset), "{target}");
    }
    quiet(|| is_reset("/break-off-open"));
    panicking(|| is_reset("/break-off-open?panic"));
}

/// As [`visit`]; one handler panics.
fn panicking<M: Future<Output = ()> + 'static>(main: impl FnOnce() -> M + 'static) {
    let failed = visit(Sim::new(1), |_| main());
    // The simulator knows of the panic; the server has stopped in order nevertheless.
    let failure = failed.err().map(|error| error.failure);
    assert!(matches!(failure, Some(Failure::TasksPanicked { count: 1, .. })), "{failure:?}");
}

//! How streams end.

use std::time::Duration;

use sunstar_executor::timer::{now, sleep};
use sunstar_net::Error;
use sunstar_net::socket::{Keepalive, StreamOption};
use sunstar_packet::Buffer;

use crate::support::*;

#[test]
fn a_dropped_stream_still_sends_what_it_was_given() {
    const BYTES: usize = 300_000;
    let serve = || async {
        let listener = listen(80);
        let stream = accept(&listener).await;
        sleep(Duration::from_secs(1)).await;
        assert!(read_all(&stream).await.unwrap() == pattern(0, BYTES));
    };
    pair(serve, || async {
        let stream = connect(&server(80)).await.unwrap();
        stream.enqueue(Buffer::from(pattern(0, BYTES)));
        drop(stream);
        sleep(Duration::from_secs(5)).await;
    });
}

#[test]
fn an_abort_is_a_reset_that_comes_after_the_bytes() {
    let serve = || async {
        let listener = listen(80);
        let stream = accept(&listener).await;
        sleep(Duration::from_millis(500)).await;
        assert_eq!(read(&stream).await, Ok(Buffer::from("last words")));
        assert_eq!(read(&stream).await, Err(Error::ConnectionReset));
        assert_eq!(read(&stream).await, Err(Error::ConnectionReset));
        assert_eq!(writable(&stream).await, Err(Error::ConnectionReset));
        assert_eq!(flush(&stream).await, Err(Error::ConnectionReset));
    };
    pair(serve, || async {
        let stream = connect(&server(80)).await.unwrap();
        write(&stream, "last words").await.unwrap();
        sleep(Duration::from_millis(100)).await;
        stream.abort();
        assert_eq!(read(&stream).await, Err(Error::ConnectionAborted));
        assert_eq!(writable(&stream).await, Err(Error::ConnectionAborted));
        sleep(Duration::from_secs(1)).await;
    });
}

#[test]
fn an_abort_wakes_who_waits() {
    let serve = || async {
        let listener = listen(80);
        let stream = accept(&listener).await;
        assert_eq!(read(&stream).await, Err(Error::ConnectionReset));
    };
    pair(serve, || async {
        let stream = connect(&server(80)).await.unwrap();
        let reader = std::rc::Rc::clone(&stream);
        let reading = sunstar_executor::spawn(async move { read(&reader).await });
        sleep(Duration::from_millis(10)).await;
        stream.abort();
        assert_eq!(reading.await.unwrap(), Err(Error::ConnectionAborted));
        sleep(Duration::from_millis(100)).await;
    });
}

#[test]
fn who_drops_unread_bytes_resets() {
    let serve = || async {
        let listener = listen(80);
        let stream = accept(&listener).await;
        sleep(Duration::from_millis(100)).await;
        drop(stream);
        sleep(Duration::from_secs(1)).await;
    };
    pair(serve, || async {
        let stream = connect(&server(80)).await.unwrap();
        write(&stream, "unread").await.unwrap();
        assert_eq!(read(&stream).await, Err(Error::ConnectionReset));
    });
}

#[test]
fn a_peer_that_vanishes_is_found_by_keepalive() {
    let serve = || async {
        let listener = listen(80);
        let stream = accept(&listener).await;
        assert_eq!(read_bytes(&stream, 1).await, Ok(b"x".to_vec()));
        // The host ends without a word: what is left of its stack goes with it.
        std::mem::forget(stream);
    };
    pair(serve, || async {
        let stream = connect(&server(80)).await.unwrap();
        let keepalive = Keepalive { idle: Duration::from_secs(10), interval: Duration::from_secs(1), probes: 3 };
        stream.set_option(StreamOption::Keepalive(Some(keepalive))).unwrap();
        write(&stream, "x").await.unwrap();
        let begun = now();
        assert!(matches!(read(&stream).await, Err(Error::TimedOut | Error::HostUnreachable)));
        assert!(now() - begun < Duration::from_secs(30));
    });
}

#[test]
fn many_connections_come_and_go_and_leave_nothing() {
    let serve = || async {
        let listener = listen(80);
        for _ in 0..2_000 {
            let stream = accept(&listener).await;
            let request = read_bytes(&stream, 64).await.unwrap();
            write(&stream, request).await.unwrap();
        }
    };
    pair(serve, || async {
        for number in 0..2_000 {
            let stream = connect(&server(80)).await.unwrap();
            write(&stream, pattern(number, 64)).await.unwrap();
            assert_eq!(read_all(&stream).await, Ok(pattern(number, 64)));
        }
    });
}

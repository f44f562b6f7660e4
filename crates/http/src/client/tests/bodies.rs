//! Bodies of all forms, both ways, read to the end or not.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::timer::{now, sleep};
use sunstar_http1::{BodyError, Error as Refusal};

use super::world::{Peer, at, get, scripted};
use crate::client::{ClientError, ClientOptions};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Answers each request with bytes as they are.
fn raw(text: &'static str) -> impl Fn(Peer) -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
    move |mut peer| {
        Box::pin(async move {
            while peer.head().await.is_some() {
                peer.say(text).await;
            }
        })
    }
}

#[test]
fn bodies_of_all_forms_are_read_and_the_connection_kept() {
    for (text, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nT: u\r\n\r\n", "hello"),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", "hello"),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            "x",
        ),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", ""),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", ""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
    ] {
        let stats = scripted(ClientOptions::default(), raw(text), move |client| async move {
            for _ in 0..3 {
                assert_eq!(get(&client, "/").await.unwrap(), body, "{text}");
            }
        });
        assert_eq!((stats.connected, stats.reused), (1, 2), "{text}");
    }
}

#[test]
fn trailers_are_there_when_the_body_has_ended() {
    let text =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nDigest: 42\r\nContent-Length: 1\r\n\r\n";
    scripted(ClientOptions::default(), raw(text), |client| async move {
        let mut response = client.get(&at("/")).send().await.unwrap();
        assert!(response.trailers().is_none());
        assert_eq!(response.collect(10).await.unwrap(), b"ok");
        let trailers = response.trailers().expect("there are some");
        assert_eq!(trailers.iter().collect::<Vec<_>>(), [(&b"Digest"[..], &b"42"[..])]);
    });
}

#[test]
fn bodies_that_end_with_the_connection_are_read_and_the_connection_is_not_kept() {
    for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n"] {
        let closing = move |mut peer: Peer| async move {
            peer.head().await;
            peer.say(head).await;
            peer.say("hello").await;
        };
        let stats = scripted(ClientOptions::default(), closing, |client| async move {
            for _ in 0..2 {
                assert_eq!(get(&client, "/").await.unwrap(), "hello");
            }
        });
        assert_eq!((stats.connected, stats.reused, stats.open, stats.broken_off), (2, 0, 0, 0));
    }
}

#[test]
fn the_answer_to_head_has_no_body() {
    let stats =
        scripted(ClientOptions::default(), raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), |client| async move {
            for _ in 0..2 {
                let mut response = client.request("HEAD", &at("/")).send().await.unwrap();
                assert_eq!(response.headers().get("content-length"), Some(&b"5"[..]));
                assert_eq!(response.body().await, Ok(None));
            }
        });
    assert_eq!(stats.reused, 1);
}

#[test]
fn bodies_that_break_off_are_told() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n",
    ] {
        let broken = move |mut peer: Peer| async move {
            peer.head().await;
            peer.say(text).await;
        };
        let stats = scripted(ClientOptions::default(), broken, |client| async move {
            let mut response = client.get(&at("/")).send().await.unwrap();
            assert_eq!(response.body().await.unwrap().unwrap(), b"hell");
            for _ in 0..2 {
                assert_eq!(response.body().await, Err(ClientError::Refused(Refusal::Truncated)));
            }
        });
        assert_eq!((stats.open, stats.retried), (0, 0));
    }
}

#[test]
fn what_is_collected_is_bounded() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    for text in [chunked, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"] {
        scripted(ClientOptions::default(), raw(text), |client| async move {
            for (limit, fits) in [(5, true), (4, false), (3, false), (2, false), (0, false)] {
                let mut response = client.get(&at("/")).send().await.unwrap();
                let collected = response.collect(limit).await;
                assert_eq!(collected.is_ok(), fits);
                assert!(fits || collected == Err(ClientError::TooLarge));
            }
        });
    }
}

#[test]
fn requests_are_as_they_should_be() {
    let seen = Rc::new(Cell::new(String::new()));
    let told = Rc::clone(&seen);
    let keep = move |mut peer: Peer| {
        let told = Rc::clone(&told);
        async move {
            while let Some(head) = peer.head().await {
                let length: usize = head
                    .split("Content-Length: ")
                    .nth(1)
                    .map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
                let body = peer.take(length).await;
                told.set(format!("{head}{}", String::from_utf8(body).unwrap()));
                peer.answer("").await;
            }
        }
    };
    scripted(ClientOptions::default(), keep, |client| async move {
        let host = at("").replace("http://", "");
        client.get(&at("/a?b#c")).header("Accept", "x").send().await.unwrap();
        assert_eq!(seen.take(), format!("GET /a?b HTTP/1.1\r\nHost: {host}\r\nAccept: x\r\n\r\n"));
        client.post(&at("")).send().await.unwrap();
        assert_eq!(seen.take(), format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"));
        client.request("DELETE", &at("/")).body("hello").send().await.unwrap();
        assert_eq!(seen.take(), format!("DELETE / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\nhello"));
        client.post(&at("/")).body("x".repeat(200_000).into_bytes()).send().await.unwrap();
        assert!(seen.take().ends_with(&format!("Content-Length: 200000\r\n\r\n{}", "x".repeat(200_000))));
    });
}

#[test]
fn bodies_are_sent_piece_by_piece() {
    let counting = |mut peer: Peer| async move {
        while let Some(head) = peer.head().await {
            if head.contains("Transfer-Encoding: chunked\r\n") {
                assert_eq!(peer.take(20).await, b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n");
            } else {
                assert!(head.contains("Content-Length: 5\r\n"));
                let body = peer.take(5).await;
                assert!(b"hello".starts_with(&body));
                if body.len() < 5 {
                    return;
                }
            }
            peer.answer("thanks").await;
        }
    };
    let stats = scripted(ClientOptions::default(), counting, |client| async move {
        for length in [None, Some(5)] {
            let mut upload = client.post(&at("/")).stream(length).await.unwrap();
            upload.send_body("hel").await.unwrap();
            sleep(ms(100)).await;
            upload.send_body("").await.unwrap();
            upload.send_body("lo").await.unwrap();
            let mut response = upload.finish().await.unwrap();
            assert_eq!(response.collect(10).await.unwrap(), b"thanks");
        }
        let mut upload = client.post(&at("/")).stream(Some(5)).await.unwrap();
        assert_eq!(upload.send_body("hello!").await, Err(ClientError::Body(BodyError::TooLong)));
        upload.send_body("hell").await.unwrap();
        assert_eq!(upload.finish().await.err(), Some(ClientError::Body(BodyError::TooShort)));
        assert_eq!(client.stats().open, 0, "the request can't be completed");
    });
    assert_eq!((stats.connected, stats.reused), (1, 2));
}

#[test]
fn senders_and_servers_are_held_back() {
    let sent = Rc::new(Cell::new(0_usize));
    let told = Rc::clone(&sent);
    let flood = move |mut peer: Peer| {
        let told = Rc::clone(&told);
        async move {
            peer.head().await;
            peer.say("HTTP/1.1 200 OK\r\n\r\n").await;
            for _ in 0..1000 {
                peer.say(vec![0; 100 << 10]).await;
                told.set(told.get() + 1);
            }
        }
    };
    scripted(ClientOptions::default(), flood, |client| async move {
        let mut response = client.get(&at("/")).send().await.unwrap();
        sleep(Duration::from_secs(10)).await;
        assert!(sent.get() < 20, "{} parts are under way", sent.get());
        response.body().await.unwrap();
    });

    scripted(
        ClientOptions::default(),
        |mut peer: Peer| async move {
            peer.head().await;
            sleep(Duration::from_secs(100)).await;
        },
        |client| async move {
            let mut upload = client.post(&at("/")).stream(None).await.unwrap();
            let mut count = 0;
            while let Ok(sent) = with_timeout(ms(1000), upload.send_body(vec![0; 100 << 10])).await {
                sent.unwrap();
                count += 1;
            }
            assert!(count < 20, "{count} parts are under way");
        },
    );
}

#[test]
fn a_server_that_is_asked_gets_the_body_only_if_it_wants_it() {
    let choosy = |mut peer: Peer| async move {
        while let Some(head) = peer.head().await {
            assert!(head.contains("Expect: 100-continue\r\n"), "{head}");
            if head.contains("/yes") {
                peer.say("HTTP/1.1 100 Continue\r\n\r\n").await;
            } else if head.contains("/no") {
                peer.say("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
                return peer.closed().await;
            }
            assert_eq!(peer.take(5).await, b"hello");
            peer.answer("thanks").await;
        }
    };
    let stats = scripted(ClientOptions::default(), choosy, |client| async move {
        for (path, status, wait) in [("/yes", 200, 0), ("/silent", 200, 1), ("/no", 403, 0)] {
            let begun = now();
            let response = client.post(&at(path)).body("hello").expect_continue().send().await.unwrap();
            assert_eq!(response.status().code(), status);
            assert_eq!((now() - begun).as_secs(), wait, "{path}");
        }
        let mut upload = client.post(&at("/no")).expect_continue().stream(Some(5)).await.unwrap();
        assert!(upload.is_answered());
        assert_eq!(upload.send_body("hello").await, Err(ClientError::Answered));
        assert_eq!(upload.finish().await.unwrap().status().code(), 403);
    });
    // What the body would have been is unsaid, so the connection can't be used again.
    assert_eq!((stats.connected, stats.broken_off, stats.open), (2, 2, 0));
}

#[test]
fn an_early_answer_ends_the_upload() {
    for closes in [false, true] {
        let hasty = move |mut peer: Peer| async move {
            peer.head().await;
            peer.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig").await;
            if !closes {
                peer.closed().await;
            }
        };
        let stats = scripted(ClientOptions::default(), hasty, |client| async move {
            let mut response = client.post(&at("/")).body(vec![0; 10 << 20]).send().await.unwrap();
            assert_eq!(
                (response.status().code(), response.collect(10).await.unwrap()),
                (413, b"big"[..].to_vec().into())
            );

            let mut upload = client.post(&at("/")).stream(None).await.unwrap();
            let error = loop {
                if let Err(error) = upload.send_body(vec![0; 10 << 10]).await {
                    break error;
                }
                sleep(ms(1)).await;
            };
            assert_eq!(error, ClientError::Answered);
            assert_eq!(upload.finish().await.unwrap().status().code(), 413);
        });
        assert_eq!((stats.open, stats.retried), (0, 0));
    }
}

#[test]
fn the_rest_of_a_dropped_response_is_drained_or_the_connection_closed() {
    // What is left comes late; whether the connection lives on.
    for (first, rest, is_kept) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "hello", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", "hello", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", "hello", false),
        ("HTTP/1.1 200 OK\r\n\r\n", "hello", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "oh\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", "hello", false),
    ] {
        let late = move |mut peer: Peer| async move {
            while peer.head().await.is_some() {
                peer.say(first).await;
                sleep(ms(50)).await;
                peer.say(rest).await;
            }
        };
        let stats = scripted(ClientOptions::default(), late, move |client| async move {
            for _ in 0..3 {
                drop(client.get(&at("/")).send().await.unwrap());
                assert_eq!(client.stats().idle, 0);
                sleep(Duration::from_secs(1)).await;
                assert_eq!(client.stats().open, u64::from(is_kept), "{first}");
            }
        });
        let expected = if is_kept { (1, 2, 3, 0) } else { (3, 0, 0, 3) };
        assert_eq!((stats.connected, stats.reused, stats.drained, stats.broken_off), expected, "{first}");
    }
}

#[test]
fn dropping_at_any_moment_leaves_nothing_behind() {
    let slow = |mut peer: Peer| async move {
        while peer.head().await.is_some() {
            peer.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            for _ in 0..3 {
                sleep(ms(1)).await;
                peer.say("5\r\nhello\r\n").await;
            }
            peer.say("0\r\n\r\n").await;
        }
    };
    let options = ClientOptions { connections_per_host: 1, ..ClientOptions::default() };
    scripted(options, slow, |client| async move {
        for moment in 0..80 {
            let asked = with_timeout(Duration::from_micros(moment * 100), get(&client, "/")).await;
            assert!(asked.is_err() || asked == Ok(Ok("hellohellohello".to_owned())));
            if moment % 5 == 0 {
                assert_eq!(get(&client, "/").await.unwrap(), "hellohellohello");
            }
        }
        sleep(Duration::from_secs(1)).await;
    });
}

//! Servers that close, reset, and say what nobody asked for.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::timer::{now, sleep};
use sunstar_http1::Error as Refusal;
use sunstar_net::Error as NetError;
use sunstar_sim::Sim;

use super::world::{Peer, at, echo_targets, get, scripted};
use crate::client::{Client, ClientError, ClientOptions, Direct, RetryPolicy};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Ends the connection after each answer, without having said so.
async fn forgetful(mut peer: Peer) {
    if peer.head().await.is_some() {
        peer.answer("once").await;
    }
}

#[test]
fn kept_connections_that_the_server_closes_are_noticed() {
    let stats = scripted(ClientOptions::default(), forgetful, |client| async move {
        for _ in 0..3 {
            assert_eq!(get(&client, "/").await.unwrap(), "once");
            sleep(ms(100)).await;
            assert_eq!(client.stats().open, 0, "it is noticed without a request");
        }
    });
    assert_eq!((stats.connected, stats.stale, stats.retried, stats.reused), (3, 3, 0, 0));
}

#[test]
fn a_connection_that_is_closed_as_it_is_used_is_replaced() {
    // The second request and the end of the connection pass each other on the way.
    let closing = |mut peer: Peer| async move {
        peer.head().await;
        peer.answer("once").await;
        if peer.number == 0 {
            peer.head().await;
        } else {
            echo_targets(peer).await;
        }
    };
    let stats = scripted(ClientOptions::default(), closing, |client| async move {
        get(&client, "/a").await.unwrap();
        let begun = now();
        assert_eq!(get(&client, "/b").await.unwrap(), "once");
        assert!(now() - begun < ms(20), "there is no pause for what servers do all the time");
    });
    assert_eq!((stats.connected, stats.reused, stats.retried, stats.requests), (2, 1, 1, 2));
    scripted(ClientOptions::default(), closing, |client| async move {
        get(&client, "/a").await.unwrap();
        let posted = client.post(&at("/b")).body("x").send().await;
        assert_eq!(posted.err(), Some(ClientError::Closed), "nobody knows whether it was served");
        assert_eq!(client.stats().retried, 0);
    });
}

#[test]
fn bytes_that_nobody_asked_for_end_a_kept_connection() {
    let talkative = |mut peer: Peer| async move {
        peer.head().await;
        let extra =
            if peer.number.is_multiple_of(2) { "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil" } else { "\r\n" };
        peer.say(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{extra}").into_bytes()).await;
        peer.closed().await;
    };
    let stats = scripted(ClientOptions::default(), talkative, |client| async move {
        for _ in 0..4 {
            assert_eq!(get(&client, "/").await.unwrap(), "ok");
        }
    });
    assert_eq!((stats.connected, stats.reused), (4, 0));

    let late = |mut peer: Peer| async move {
        peer.head().await;
        peer.answer("ok").await;
        sleep(ms(50)).await;
        peer.answer("evil").await;
        peer.closed().await;
    };
    let stats = scripted(ClientOptions::default(), late, |client| async move {
        for _ in 0..2 {
            assert_eq!(get(&client, "/").await.unwrap(), "ok");
            sleep(ms(100)).await;
        }
    });
    assert_eq!((stats.connected, stats.reused, stats.unasked), (2, 0, 2));
}

/// Serves the connections from a number on, and ends the others when a request has come.
fn works_from(first: usize, resets: bool) -> impl Fn(Peer) -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
    move |mut peer| {
        Box::pin(async move {
            if peer.number >= first {
                echo_targets(peer).await;
            } else if peer.head().await.is_some() && resets {
                peer.reset();
            }
        })
    }
}

#[test]
fn idempotent_requests_are_sent_again_after_pauses() {
    for resets in [false, true] {
        let stats = scripted(ClientOptions::default(), works_from(2, resets), |client| async move {
            let begun = now();
            assert_eq!(get(&client, "/x").await.unwrap(), "/x");
            assert!((ms(150)..ms(200)).contains(&(now() - begun)), "50 and 100 ms");
        });
        assert_eq!((stats.connected, stats.retried, stats.requests), (3, 2, 1));
    }
    for method in ["HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        scripted(ClientOptions::default(), works_from(1, false), move |client| async move {
            client.request(method, &at("/")).send().await.unwrap();
        });
    }
}

#[test]
fn retries_are_bounded_and_can_be_off() {
    for (policy, connected) in [(RetryPolicy::default(), 3), (RetryPolicy::NEVER, 1)] {
        let options = ClientOptions { retry: policy, ..ClientOptions::default() };
        let stats = scripted(options, works_from(9, false), |client| async move {
            assert_eq!(get(&client, "/x").await, Err(ClientError::Closed));
        });
        assert_eq!(stats.connected, connected);
    }
}

#[test]
fn what_may_have_been_done_is_not_done_again() {
    for method in ["POST", "PATCH", "get", "LOCK"] {
        let stats = scripted(ClientOptions::default(), works_from(1, true), move |client| async move {
            let outcome = client.request(method, &at("/")).body("x").send().await;
            assert_eq!(outcome.err(), Some(ClientError::Net(NetError::ConnectionReset)), "{method}");
        });
        assert_eq!((stats.connected, stats.retried), (1, 0));
    }
}

#[test]
fn a_response_that_has_begun_is_not_asked_for_again() {
    let half = |mut peer: Peer| async move {
        peer.head().await;
        peer.say("HTTP/1.1 200 OK\r\nConte").await;
    };
    let stats = scripted(ClientOptions::default(), half, |client| async move {
        assert_eq!(get(&client, "/").await, Err(ClientError::Refused(Refusal::Truncated)));
    });
    assert_eq!((stats.connected, stats.retried), (1, 0));
}

#[test]
fn who_does_not_listen_is_tried_again_whatever_is_asked() {
    let mut sim = Sim::new(1);
    sim.host("server", 1, || async {});
    sim.host("client", 1, || async {
        let client = Client::default();
        let refused = client.post(&at("/")).body("x").send().await;
        assert_eq!(refused.err(), Some(ClientError::Connect(NetError::ConnectionRefused)));
        let stats = client.stats();
        assert_eq!((stats.connect_failed, stats.retried, stats.connected, stats.open), (3, 2, 0, 0));
    });
    sim.run().unwrap();
}

#[test]
fn what_is_no_response_is_refused() {
    for (text, error) in [
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", Refusal::Unasked),
        ("HTTP/2.0 200 OK\r\n\r\n", Refusal::Version),
        ("SSH-2.0-OpenSSH\r\n", Refusal::StartLine),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", Refusal::ContentLength),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Refusal::TransferEncoding),
        ("HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", Refusal::LineEnd),
    ] {
        let script = move |mut peer: Peer| async move {
            peer.head().await;
            peer.say(text).await;
            peer.closed().await;
        };
        let stats = scripted(ClientOptions::default(), script, move |client| async move {
            assert_eq!(get(&client, "/").await, Err(ClientError::Refused(error)), "{text}");
        });
        assert_eq!((stats.connected, stats.open), (1, 0));
    }
}

#[test]
fn heads_and_interim_responses_are_bounded() {
    for (piece, error) in [
        ("X: yyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", Refusal::HeadersTooLarge),
        ("HTTP/1.1 103 Early\r\n\r\n", Refusal::TooManyInterim),
    ] {
        let script = move |mut peer: Peer| async move {
            peer.head().await;
            if error == Refusal::HeadersTooLarge {
                peer.say("HTTP/1.1 200 OK\r\n").await;
            }
            for _ in 0..1000 {
                peer.say(piece).await;
            }
            peer.closed().await;
        };
        scripted(ClientOptions::default(), script, move |client| async move {
            assert_eq!(get(&client, "/").await, Err(ClientError::Refused(error)));
        });
    }
}

#[test]
fn what_is_wrong_with_a_request_is_told_and_nothing_sent() {
    let stats = scripted(ClientOptions::default(), echo_targets, |client| async move {
        let outcome = async |request: crate::client::RequestBuilder<'_>| request.send().await.err();
        let uri = at("/");
        assert!(matches!(outcome(client.get("server")).await, Some(ClientError::Uri(_))));
        assert_eq!(outcome(client.get("https://127.0.0.1/")).await, Some(ClientError::Scheme));
        for method in ["", "G T", "CONNECT", "GET / HTTP/1.1\r\nX: y"] {
            assert_eq!(outcome(client.request(method, &uri)).await, Some(ClientError::Method), "{method}");
        }
        for (name, value) in [
            ("A", "b\r\nC: d"),
            ("A", "\0"),
            ("A b", ""),
            ("Host", "x"),
            ("content-length", "1"),
            ("Transfer-Encoding", "chunked"),
        ] {
            assert_eq!(outcome(client.get(&uri).header(name, value)).await, Some(ClientError::Header), "{name}");
        }
        assert_eq!(outcome(client.get("http://elsewhere/")).await, Some(ClientError::UnknownHost));
    });
    assert_eq!(stats.connected, 0);
}

/// As the shard's resolver knows them.
#[test]
fn hosts_are_found_by_their_names() {
    let mut sim = Sim::new(1);
    super::world::add_server(&mut sim, "server", echo_targets);
    sim.host("client", 1, || async {
        let ip = sunstar_sim::resolve("server").expect("it is there");
        let hosts = sunstar_net::names::Hosts::parse(&format!("{ip} www.example.org"));
        let options = sunstar_net::ResolverOptions::new(Default::default);
        sunstar_net::Resolver::new(sunstar_net::ResolverOptions { hosts: Rc::new(hosts), ..options }).install();
        let client = Client::with_connector(ClientOptions::default(), Direct);
        client.get("http://www.Example.org/").send().await.unwrap().collect(100).await.unwrap();
        let unknown = client.get("http://example.org/").send().await.err();
        assert_eq!(unknown, Some(ClientError::Connect(sunstar_net::Error::NameServers)), "there is nobody to be asked");
        drop(client);
    });
    sim.run().unwrap();
}

#[test]
fn connectors_find_hosts_by_name() {
    let mut sim = Sim::new(1);
    super::world::add_server(&mut sim, "server", echo_targets);
    sim.host("client", 1, || async {
        let asked = Rc::new(Cell::new(0));
        let count = Rc::clone(&asked);
        let client = Client::with_connector(ClientOptions::default(), move |authority: crate::client::Authority| {
            count.set(count.get() + 1);
            async move {
                let ip = sunstar_sim::resolve(authority.host()).ok_or(ClientError::UnknownHost)?;
                let address = core::net::SocketAddr::from((ip, authority.port()));
                sunstar_net::Stream::connect(address).await.map_err(ClientError::Connect)
            }
        });
        for uri in ["http://server/", "http://SERVER:80/"] {
            client.get(uri).send().await.unwrap().collect(100).await.unwrap();
        }
        assert_eq!(client.get("http://nobody/").send().await.err(), Some(ClientError::UnknownHost));
        assert_eq!(client.get("https://server/").send().await.err(), Some(ClientError::Scheme));
        assert_eq!(asked.get(), 2, "the second request used the first one's connection");
        drop(Client::with_connector(ClientOptions::default(), Direct));
    });
    sim.run().unwrap();
}

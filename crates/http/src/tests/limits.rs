//! How many connections there may be, and how large the bodies of some requests.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::timer::{now, sleep};
use sunstar_executor::{Service, spawn};
use sunstar_net::ListenerOptions;
use sunstar_sim::Sim;

use super::client::{Client, Ending};
use super::site::{OPTIONS, PORT, quiet, quiet_with, site};
use crate::{Limits, Server, ServerOptions, ServerStats};

#[test]
fn connections_beyond_the_bound_wait_for_their_turn() {
    const BOUND: u64 = 3;
    let mut sim = Sim::new(1);
    sim.host("server", 1, || async {
        let server = Rc::new(Server::with_options(site, ServerOptions { connections: 3, ..OPTIONS }));
        let any = std::net::SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, PORT));
        server.listen(any, ListenerOptions::default()).await.unwrap();
        for _ in 0..4000 {
            assert!(server.stats().live <= BOUND, "{}", server.stats().live);
            sleep(Duration::from_millis(1)).await;
        }
        let stats = server.stats();
        server.stop().await;
        assert!(stats.accepted == 10 && stats.live == 0 && (1..=7).contains(&stats.held_back), "{stats:?}");
    });
    sim.host("client", 1, || async {
        sleep(Duration::from_millis(10)).await;
        let begun = now();
        let visits: Vec<_> = (0..10)
            .map(|_| {
                spawn(async {
                    let mut client = Client::connect().await.unwrap();
                    let answer = client.get("/sleep?100").await.unwrap();
                    assert_eq!(answer.status(), 200);
                })
            })
            .collect();
        for visit in visits {
            visit.await.unwrap();
        }
        let took = now() - begun;
        assert!((400..600).contains(&took.as_millis()), "three at a time: {took:?}");
    });
    sim.run().unwrap();
}

/// Lets clients visit a server of one shard with two places, and answers what it has done.
fn visit_two_places<M: Future<Output = ()> + 'static>(main: impl FnOnce() -> M + 'static) -> ServerStats {
    let mut sim = Sim::new(1);
    let seen = Rc::new(Cell::new(ServerStats::default()));
    let told = Rc::clone(&seen);
    sim.host("server", 1, || async move {
        let server = Server::with_options(site, ServerOptions { connections: 2, ..OPTIONS });
        let any = std::net::SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, PORT));
        server.listen(any, ListenerOptions::default()).await.unwrap();
        sleep(Duration::from_secs(10)).await;
        told.set(server.stats());
        server.stop().await;
    });
    sim.host("client", 1, main);
    sim.run().unwrap();
    seen.get()
}

#[test]
fn the_longest_idle_connection_makes_way_for_one_that_waits() {
    let stats = visit_two_places(|| async {
        sleep(Duration::from_millis(10)).await;
        let mut first = Client::connect().await.unwrap();
        let mut second = Client::connect().await.unwrap();
        for client in [&mut second, &mut first] {
            client.get("/").await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
        let begun = now();
        let mut third = Client::connect().await.unwrap();
        assert_eq!(third.get("/").await.unwrap().status(), 200);
        assert!(now() - begun < Duration::from_millis(100), "{:?}", now() - begun);
        second.closed().await;
        assert_eq!(first.get("/").await.unwrap().status(), 200);
        assert_eq!(third.get("/").await.unwrap().status(), 200);
    });
    assert_eq!((stats.accepted, stats.held_back, stats.displaced, stats.failed), (3, 1, 1, 0));
}

#[test]
fn whoever_has_its_response_makes_way_for_one_that_waits_and_nobody_else_does() {
    let stats = visit_two_places(|| async {
        sleep(Duration::from_millis(10)).await;
        // One has not asked anything, and one is being answered.
        let mut silent = Client::connect().await.unwrap();
        let mut busy = Client::connect().await.unwrap();
        busy.ask("GET", "/sleep?1000");
        busy.transmit().await.unwrap();
        sleep(Duration::from_millis(100)).await;
        let begun = now();
        let mut third = Client::connect().await.unwrap();
        assert_eq!(third.get("/").await.unwrap().status(), 200);
        assert!((800..1000).contains(&(now() - begun).as_millis()), "{:?}", now() - begun);
        assert_eq!(busy.answer().await.unwrap().body, b"slept");
        busy.closed().await;
        assert_eq!(silent.get("/").await.unwrap().status(), 200);
        assert_eq!(third.get("/").await.unwrap().status(), 200, "nobody waits any more");
    });
    assert_eq!((stats.held_back, stats.displaced, stats.failed), (1, 1, 0));
}

#[test]
fn a_handler_may_bound_the_body_of_its_request() {
    let stats = quiet(|| async {
        for (length, bytes, status) in
            [(Some(10), 10, 200), (Some(11), 11, 413), (None, 10, 200), (None, 11, 413), (Some(11), 0, 413)]
        {
            let mut client = Client::connect().await.unwrap();
            client.begin("/limited", length, &[]);
            client.http.send_body(vec![b'x'; bytes]).unwrap();
            if bytes > 0 {
                client.http.end_body().unwrap();
            }
            client.transmit().await.unwrap();
            let answer = client.answer().await.unwrap();
            assert_eq!((answer.status(), answer.closes()), (status, status != 200), "{length:?} {bytes}");
        }
    });
    assert_eq!((stats.refused, stats.failed), (3, 0));
}

#[test]
fn a_long_body_that_nobody_reads_is_not_taken_to_its_end() {
    const LEN_BYTES: usize = 50 << 20;
    let limits = Limits { body_bytes: LEN_BYTES as u64, ..Limits::DEFAULT };
    let stats = quiet_with(ServerOptions { limits, ..OPTIONS }, || async {
        for length in [Some(LEN_BYTES as u64), None] {
            let mut client = Client::connect().await.unwrap();
            client.begin("/", length, &[]);
            let mut sent_bytes = 0;
            while sent_bytes < 3 << 20 {
                client.http.send_body(vec![b'x'; 64 << 10]).unwrap();
                client.transmit().await.unwrap();
                sent_bytes += 64 << 10;
            }
            assert_eq!(client.answer().await.unwrap().body, b"hello, world");
            assert_eq!(client.answer().await.unwrap_err(), Ending::Closed, "{length:?}");
        }
    });
    assert_eq!((stats.requests, stats.refused, stats.failed), (2, 2, 0));
}

#[test]
fn who_waits_for_a_body_after_the_last_response_is_told_so() {
    let stats = quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        client.begin("/answered", Some(100), &[]);
        client.transmit().await.unwrap();
        assert_eq!(client.answer().await.unwrap().body, b"bye");
        assert_eq!(client.answer().await.unwrap_err(), Ending::Closed);
    });
    assert_eq!((stats.requests, stats.failed), (1, 0));
}

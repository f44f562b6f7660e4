//! How many connections there are, who gets them, and how long they are kept.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::spawn;
use sunstar_executor::timer::{now, sleep};
use sunstar_sim::Sim;

use super::world::{Peer, add_server, at, echo_targets, get, of, scripted};
use crate::client::{Client, ClientError, ClientOptions, Phase};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Answers each request after 10 ms.
async fn slow(mut peer: Peer) {
    while peer.head().await.is_some() {
        sleep(ms(10)).await;
        peer.answer("done").await;
    }
}

#[test]
fn connections_are_used_again() {
    let stats = scripted(ClientOptions::default(), echo_targets, |client| async move {
        for number in 0..10 {
            let path = format!("/{number}");
            assert_eq!(get(&client, &path).await.unwrap(), path);
        }
    });
    assert_eq!((stats.connected, stats.reused, stats.requests, stats.responses), (1, 9, 10, 10));
    assert_eq!((stats.idle, stats.retried, stats.broken_off), (1, 0, 0));
}

#[test]
fn connections_are_bounded_and_waiters_served_in_order() {
    let options = ClientOptions { connections_per_host: 2, ..ClientOptions::default() };
    let stats = scripted(options, slow, |client| async move {
        let order = Rc::new(RefCell::new(Vec::new()));
        let requests: Vec<_> = (0..10)
            .map(|number| {
                let (client, order) = (client.clone(), Rc::clone(&order));
                spawn(async move {
                    get(&client, "/").await.unwrap();
                    order.borrow_mut().push(number);
                })
            })
            .collect();
        sleep(ms(5)).await;
        assert_eq!((client.stats().open, client.stats().waiting), (2, 8));
        for request in requests {
            request.await.unwrap();
        }
        let order = order.borrow();
        assert!(
            order.chunks(2).enumerate().all(|(pair, numbers)| numbers.iter().all(|number| number / 2 == pair)),
            "{order:?}"
        );
    });
    assert_eq!((stats.connected, stats.reused, stats.idle), (2, 8, 2));
}

#[test]
fn too_many_waiters_are_refused_and_long_waits_end() {
    let options = ClientOptions {
        connections_per_host: 1,
        waiting_per_host: 2,
        wait_timeout: ms(15),
        ..ClientOptions::default()
    };
    let stats = scripted(options, slow, |client| async move {
        let requests: Vec<_> = (0..4)
            .map(|_| {
                let client = client.clone();
                spawn(async move { get(&client, "/").await })
            })
            .collect();
        let mut outcomes = Vec::new();
        for request in requests {
            outcomes.push(request.await.unwrap().err());
        }
        let too_long = ClientError::TimedOut(Phase::Wait);
        assert_eq!(outcomes, [None, None, Some(too_long), Some(ClientError::Busy)]);
    });
    assert_eq!((stats.rejected, stats.waited_in_vain, stats.timed_out), (1, 1, 0));
}

#[test]
fn whoever_stops_waiting_loses_nothing() {
    let options = ClientOptions { connections_per_host: 1, ..ClientOptions::default() };
    let stats = scripted(options, slow, |client| async move {
        let requests: Vec<_> = (0..6)
            .map(|_| {
                let client = client.clone();
                spawn(async move { get(&client, "/").await.unwrap() })
            })
            .collect();
        sleep(ms(5)).await;
        requests.iter().skip(1).step_by(2).for_each(|request| request.abort());
        for (number, request) in requests.into_iter().enumerate() {
            assert_eq!(request.await.is_ok(), number % 2 == 0);
        }
    });
    assert_eq!((stats.connected, stats.responses), (1, 3));
}

#[test]
fn hosts_share_the_bound_fairly() {
    let mut sim = Sim::new(1);
    add_server(&mut sim, "server", slow);
    add_server(&mut sim, "other", slow);
    sim.host("client", 1, || async {
        let client = Client::new(ClientOptions { connections: 2, ..ClientOptions::default() });
        let ask = |host: &'static str| {
            let client = client.clone();
            spawn(async move {
                client.get(&of(host, "/")).send().await.unwrap().collect(100).await.unwrap();
                now()
            })
        };
        let many: Vec<_> = (0..8).map(|_| ask("server")).collect();
        sleep(ms(1)).await;
        let one = ask("other");
        let more: Vec<_> = (0..8).map(|_| ask("server")).collect();
        let mut before = now();
        for request in many {
            before = before.max(request.await.unwrap());
        }
        let served = one.await.unwrap();
        let mut after = served;
        for request in more {
            after = after.max(request.await.unwrap());
        }
        assert!(served < before + ms(20) && served + ms(20) < after, "{before:?} {served:?} {after:?}");
        assert!(client.stats().open <= 2);
        // A kept connection makes room for another host's.
        client.get(&of("other", "/")).send().await.unwrap().collect(100).await.unwrap();
        assert!(client.stats().open <= 2);
    });
    sim.run().unwrap();
}

#[test]
fn only_so_many_are_kept_and_only_for_so_long() {
    let options = ClientOptions { idle_per_host: 3, idle_timeout: ms(500), ..ClientOptions::default() };
    let stats = scripted(options, slow, |client| async move {
        let requests: Vec<_> = (0..8)
            .map(|_| {
                let client = client.clone();
                spawn(async move { get(&client, "/").await.unwrap() })
            })
            .collect();
        for request in requests {
            request.await.unwrap();
        }
        assert_eq!((client.stats().idle, client.stats().open), (3, 3));
        sleep(ms(300)).await;
        get(&client, "/").await.unwrap();
        sleep(ms(300)).await;
        assert_eq!(client.stats().idle, 1, "the others were not used for too long");
        sleep(ms(300)).await;
        assert_eq!(client.stats().open, 0);
    });
    assert_eq!((stats.connected, stats.reused, stats.expired), (8, 1, 8));
}

#[test]
fn stopping_closes_what_is_kept() {
    let stats = scripted(ClientOptions::default(), echo_targets, |client| async move {
        let mut response = client.get(&at("/a")).send().await.unwrap();
        get(&client, "/b").await.unwrap();
        sunstar_executor::Service::stop(&client).await;
        assert_eq!(client.stats().open, 1, "requests under way go on");
        assert_eq!(response.collect(10).await.unwrap(), b"/a");
    });
    assert_eq!((stats.connected, stats.expired, stats.idle), (2, 1, 1));
}

#[test]
fn hosts_without_connections_are_forgotten() {
    let options = ClientOptions { idle_per_host: 0, waiting_per_host: 0, ..ClientOptions::default() };
    scripted(options, echo_targets, |client| async move {
        get(&client, "/").await.unwrap();
        drop(client.get(&at("/")).send().await.unwrap());
        assert!(client.0.state.borrow().hosts.is_empty());
    });
}

//! Servers that say how long they keep a connection.

use std::time::Duration;

use sunstar_executor::spawn;
use sunstar_executor::timer::sleep;

use super::world::{Peer, at, get, scripted};
use crate::client::{ClientOptions, ClientStats};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Answers each request with a field, and closes what was not used for too long.
fn says(field: &'static str) -> impl Fn(Peer) -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
    move |mut peer| {
        Box::pin(async move {
            while peer.head().await.is_some() {
                peer.say(format!("HTTP/1.1 200 OK\r\n{field}Content-Length: 2\r\n\r\nok").into_bytes()).await;
            }
        })
    }
}

/// What a client counts that asks after each of these pauses.
fn asks(idle_timeout: Duration, field: &'static str, pauses: &'static [u64]) -> ClientStats {
    let options = ClientOptions { idle_timeout, ..ClientOptions::default() };
    scripted(options, says(field), move |client| async move {
        for &pause in pauses {
            sleep(ms(pause)).await;
            assert_eq!(get(&client, "/").await.unwrap(), "ok");
        }
    })
}

#[test]
fn a_connection_is_kept_as_long_as_its_server_keeps_it_but_a_second() {
    let stats = asks(ms(30_000), "Keep-Alive: timeout=5\r\n", &[0, 3900, 4100, 3900]);
    assert_eq!((stats.connected, stats.reused, stats.expired), (2, 2, 1));
}

#[test]
fn the_own_time_counts_if_it_is_less() {
    let stats = asks(ms(2000), "Keep-Alive: timeout=5\r\n", &[0, 1900, 2100]);
    assert_eq!((stats.connected, stats.reused, stats.expired), (2, 1, 1));
}

#[test]
fn a_connection_whose_time_is_over_is_not_used_though_nobody_has_closed_it_yet() {
    // The request comes at the very instant, and before the watcher.
    let stats = asks(ms(2000), "", &[0, 2000]);
    assert_eq!((stats.connected, stats.reused, stats.expired, stats.idle), (2, 0, 1, 1));
}

#[test]
fn a_connection_that_its_server_does_not_keep_is_not_kept() {
    for field in ["Keep-Alive: timeout=0\r\n", "Keep-Alive: timeout=5, max=0\r\n"] {
        let stats = asks(ms(30_000), field, &[0, 0, 0]);
        assert_eq!((stats.connected, stats.reused, stats.open, stats.broken_off), (3, 0, 0, 0), "{field}");
    }
}

#[test]
fn so_many_requests_follow_as_the_server_has_said() {
    let counting = |mut peer: Peer| async move {
        // Said once; what follows counts down.
        let mut field = "Keep-Alive: timeout=60, max=2\r\n";
        while peer.head().await.is_some() {
            peer.say(format!("HTTP/1.1 200 OK\r\n{field}Content-Length: 2\r\n\r\nok").into_bytes()).await;
            field = "";
        }
    };
    let stats = scripted(ClientOptions::default(), counting, |client| async move {
        for _ in 0..7 {
            get(&client, "/").await.unwrap();
        }
        drop(client.get(&at("/")).send().await.unwrap());
    });
    assert_eq!((stats.connected, stats.reused), (3, 5));
}

#[test]
fn who_waits_for_a_connection_does_not_get_one_that_its_server_does_not_keep() {
    let options = ClientOptions { connections_per_host: 1, ..ClientOptions::default() };
    let stats = scripted(options, says("Keep-Alive: max=0\r\n"), |client| async move {
        let requests: Vec<_> = (0..4)
            .map(|_| {
                let client = client.clone();
                spawn(async move { get(&client, "/").await.unwrap() })
            })
            .collect();
        for request in requests {
            assert_eq!(request.await.unwrap(), "ok");
        }
    });
    assert_eq!((stats.connected, stats.reused, stats.open), (4, 0, 0));
}

#[test]
fn connections_end_in_the_order_of_their_times() {
    let by_target = |mut peer: Peer| async move {
        while let Some(head) = peer.head().await {
            sleep(ms(10)).await;
            let field = if head.contains("/short") { "Keep-Alive: timeout=1\r\n" } else { "" };
            peer.say(format!("HTTP/1.1 200 OK\r\n{field}Content-Length: 2\r\n\r\nok").into_bytes()).await;
        }
    };
    let stats = scripted(ClientOptions::default(), by_target, |client| async move {
        let other = client.clone();
        let long = spawn(async move { get(&other, "/long").await.unwrap() });
        sleep(ms(1)).await;
        get(&client, "/short").await.unwrap();
        long.await.unwrap();
        sleep(ms(400)).await;
        assert_eq!(client.stats().idle, 2);
        sleep(ms(200)).await;
        assert_eq!(client.stats().idle, 1, "the one that was put back later ends earlier");
    });
    assert_eq!((stats.connected, stats.expired), (2, 1));
}

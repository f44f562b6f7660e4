//! Datagrams keep the contract, and are lost, doubled and overtaken as the options say.

use std::future::poll_fn;
use std::time::Duration;

use sunstar_executor::timer::{now, sleep};
use sunstar_net::{Address, Error};
use sunstar_packet::Buffer;

use super::support::*;
use crate::{Chance, Sim, SimOptions};

#[test]
fn datagrams_keep_their_bounds_and_senders() {
    let server = || async {
        let socket = bind(53);
        let (bytes, from) = receive(&socket).await.unwrap();
        assert_eq!((&bytes[..], from.to_string()), (&b"ping"[..], format!("10.0.0.2:{}", from.inet().unwrap().port())));
        socket.enqueue("pong".into(), Some(&from));
        assert_eq!(receive(&socket).await.unwrap().0.len(), 0, "an empty one is one");
    };
    let client = || async {
        let socket = bind(0);
        socket.enqueue("lost".into(), None);
        assert_eq!(receive(&socket).await.err(), Some(Error::NotConnected));
        socket.connect(&at("server", 53)).unwrap();
        socket.enqueue("ping".into(), None);
        assert_eq!(receive(&socket).await.unwrap(), ("pong".into(), at("server", 53)));
        socket.enqueue(Buffer::new(), None);
        socket.enqueue(vec![0; 65_508].into(), None);
        assert_eq!(receive(&socket).await.err(), Some(Error::MessageTooLong));
        sleep(Duration::from_secs(1)).await;
        socket.enqueue("nobody is there any more".into(), None);
        assert_eq!(receive(&socket).await.err(), Some(Error::ConnectionRefused));
    };
    pair(Sim::new(1), server, client).unwrap();
}

#[test]
fn time_passes_for_who_does_nothing_but_send() {
    let mut sim = Sim::new(1);
    sim.host("host", 1, || async {
        let (socket, to, start) = (bind(0), at("host", 9), now());
        let mut sent = 0;
        while now() - start < Duration::from_micros(100) {
            poll_fn(|cx| socket.poll_writable(cx)).await.unwrap_or(());
            socket.enqueue(vec![0; 1000].into(), Some(&to));
            sent += 1;
            assert!(sent < 1_000_000, "the clock stands still");
        }
    });
    sim.run().unwrap();
}

/// Sends numbered datagrams and answers those that arrived.
fn numbers(options: SimOptions) -> (Vec<u32>, crate::Report) {
    const COUNT: u32 = 1000;
    let (sender, receiver) = std::sync::mpsc::channel();
    let server = move || async move {
        let socket = bind(9);
        loop {
            let (bytes, _) = receive(&socket).await.unwrap();
            let number = u32::from_le_bytes(bytes[..].try_into().unwrap());
            if number == u32::MAX {
                return;
            }
            sender.send(number).unwrap();
        }
    };
    let client = || async {
        let socket = bind(0);
        let to: Address = at("server", 9);
        for number in 0..COUNT {
            socket.enqueue(number.to_le_bytes().to_vec().into(), Some(&to));
            sleep(Duration::from_micros(100)).await;
        }
        sleep(Duration::from_secs(1)).await;
        for _ in 0..100 {
            socket.enqueue(u32::MAX.to_le_bytes().to_vec().into(), Some(&to));
        }
    };
    let report = pair(Sim::with_options(2, options), server, client).unwrap();
    (receiver.iter().collect(), report)
}

#[test]
fn datagrams_overtake_each_other() {
    let (arrived, _) = numbers(SimOptions::default());
    assert!(!arrived.is_sorted());
    let mut sorted = arrived;
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..1000));
}

#[test]
fn datagrams_are_lost_and_doubled() {
    let mut options = SimOptions::default();
    options.network.datagram_loss = Chance::per_cent(20);
    options.network.datagram_duplication = Chance::per_cent(20);
    let (mut arrived, report) = numbers(options);
    let all = arrived.len();
    arrived.sort_unstable();
    arrived.dedup();
    assert!((700..900).contains(&arrived.len()) && (850..1080).contains(&all), "{} of {all}", arrived.len());
    assert!(report.network.lost_datagrams > 100 && report.network.duplicated_datagrams > 100);
}

#[test]
fn what_meets_a_full_queue_is_dropped_and_counted() {
    let mut options = SimOptions::default();
    options.network.datagram_queue = 10;
    let server = || async {
        let socket = bind(9);
        sleep(Duration::from_secs(1)).await;
        for _ in 0..10 {
            receive(&socket).await.unwrap();
        }
    };
    let client = || async {
        let socket = bind(0);
        for _ in 0..15 {
            socket.enqueue("x".into(), Some(&at("server", 9)));
        }
    };
    let report = pair(Sim::with_options(3, options), server, client).unwrap();
    assert_eq!(report.network.dropped_datagrams, 5);
}

//! Messages that come back, over TCP and UDP.

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use super::seawreck::{report, report_of_failure, run, with_each};
use super::server::serve;

/// A server of UDP that sends back what it gets, changed by `change`, or not.
fn echoes(at: &str, change: impl Fn(usize, &mut Vec<u8>) -> bool + Send + 'static) -> String {
    let socket = UdpSocket::bind(at).expect("a port is free");
    let address = socket.local_addr().expect("it has one");
    thread::spawn(move || {
        let mut bytes = [0; 65_536];
        for number in 0.. {
            let Ok((count, peer)) = socket.recv_from(&mut bytes) else { continue };
            let mut answer = bytes[..count].to_vec();
            if change(number, &mut answer) {
                let _ = socket.send_to(&answer, peer);
            }
        }
    });
    format!("udp://{address}")
}

#[test]
fn messages_of_any_size_come_back_over_tcp() {
    let address = serve(|mut stream| {
        let mut bytes = [0; 10_000];
        while let Ok(count @ 1..) = stream.read(&mut bytes) {
            if stream.write_all(&bytes[..count]).is_err() {
                return;
            }
        }
    });
    let url = format!("tcp://{address}");
    with_each(|backend, shards| {
        for (size, pipeline) in [("1", "1"), ("64", "8"), ("100k", "2")] {
            let arguments = ["-n", "200", "--connections", "3", "--size", size, "--pipeline", pipeline, &url];
            let seen = report(backend, shards, &arguments);
            assert_eq!((seen.count("/requests"), seen.faults()), (200, vec![]));
            assert_eq!(seen.count("/sent_bytes"), seen.count("/received_bytes"));
        }
    });
}

#[test]
fn bytes_that_are_changed_on_the_way_are_told() {
    let address = serve(|mut stream| {
        let mut bytes = [0; 64];
        while stream.read_exact(&mut bytes).is_ok() {
            bytes[63] ^= 1;
            if stream.write_all(&bytes).is_err() {
                return;
            }
        }
    });
    with_each(|backend, shards| {
        let ended =
            run(backend, shards, &["-n", "10", "--connections", "2", "--json", "-", &format!("tcp://{address}")]);
        assert_eq!(ended.report().faults(), [("requests_failed/wrong_bytes".to_owned(), 10)]);
        assert_eq!(ended.code, Some(1));
    });
}

#[test]
fn messages_come_back_over_udp() {
    with_each(|backend, shards| {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let url = echoes(at, |_, _| true);
            for (size, pipeline) in [("1", "1"), ("64", "4"), ("20000", "1")] {
                let arguments = ["-n", "300", "--connections", "3", "--size", size, "--pipeline", pipeline, &url];
                let seen = report(backend, shards, &arguments);
                assert_eq!((seen.count("/requests"), seen.faults()), (300, vec![]));
            }
        }
    });
}

#[test]
fn datagrams_that_are_lost_or_changed_are_told() {
    with_each(|backend, shards| {
        let loses = echoes("127.0.0.1:0", |number, _| number % 10 != 9);
        let arguments = ["-n", "50", "--connections", "2", "--timeout", "200ms", &loses];
        let seen = report_of_failure(backend, shards, &arguments);
        assert_eq!((seen.count("/requests"), seen.faults()), (45, vec![("requests_failed/timed_out".to_owned(), 5)]));
        // One in ten has waited in vain, and the percentiles show it.
        assert_eq!((seen.count("/latency_ns/count"), seen.count("/latency_given_up")), (50, 5));
        assert!(seen.latency("99") >= Duration::from_millis(200), "{seen:?}");
        let changes = echoes("127.0.0.1:0", |number, bytes| {
            bytes[7] ^= u8::from(number % 10 == 0);
            true
        });
        let seen = report_of_failure(backend, shards, &["-n", "50", "--connections", "2", &changes]);
        assert_eq!((seen.count("/requests"), seen.faults()), (45, vec![("requests_failed/wrong_bytes".to_owned(), 5)]));
    });
}

#[test]
fn a_datagram_that_is_lost_or_overtaken_costs_only_its_own_request() {
    with_each(|backend, shards| {
        let loses = echoes("127.0.0.1:0", |number, _| number % 20 != 9);
        let common = ["-n", "200", "--connections", "2", "--pipeline", "16", "--timeout", "2s"];
        let seen = report_of_failure(backend, shards, &[&common[..], &[&loses]].concat());
        let lost = vec![("requests_failed/timed_out".to_owned(), 10)];
        assert_eq!((seen.count("/requests"), seen.faults()), (190, lost));
        assert_eq!((seen.count("/latency_given_up"), seen.count("/latency_lost")), (10, 0));
        assert_eq!(seen.count("/connections"), 2, "they go on");
        let url = swaps();
        let seen = report(backend, shards, &["-n", "200", "--connections", "1", "--pipeline", "16", &url]);
        assert_eq!((seen.count("/requests"), seen.faults()), (200, vec![]));
    });
}

/// A server of UDP that answers the second of two datagrams first.
fn swaps() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let address = socket.local_addr().expect("it has one");
    thread::spawn(move || {
        let mut bytes = [[0; 1024]; 2];
        while let Ok((first, peer)) = socket.recv_from(&mut bytes[0])
            && let Ok((second, _)) = socket.recv_from(&mut bytes[1])
        {
            let _ = socket.send_to(&bytes[1][..second], peer);
            let _ = socket.send_to(&bytes[0][..first], peer);
        }
    });
    format!("udp://{address}")
}

#[test]
fn nobody_who_answers_datagrams_is_told() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let address = socket.local_addr().expect("it has one");
    drop(socket);
    let ended = run("epoll", 1, &["-n", "3", "--connections", "3", &format!("udp://{address}")]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.ends_with("no request was answered well: refused\n"), "{ended:?}");
}

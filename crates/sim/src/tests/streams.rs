//! Streams keep the contract of `sunstar_net::socket`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::message::ShardId;
use sunstar_executor::timer::{now, sleep};
use sunstar_executor::{spawn, submit_to};
use sunstar_net::Error;
use sunstar_net::socket::{ConnectOptions, ListenOptions, StreamOption, stack};
use sunstar_packet::Buffer;

use super::support::*;
use crate::{Chance, Sim, SimOptions};

#[test]
fn bytes_go_both_ways_and_each_direction_ends_alone() {
    let server = || async {
        let listener = listen(80);
        let stream = accept(&listener).await;
        assert_eq!(read_all(&stream).await.unwrap(), b"question");
        write(&stream, "answer").await.unwrap();
        stream.shutdown();
        assert_eq!(write(&stream, "more").await, Err(Error::BrokenPipe));
        flush(&stream).await.unwrap();
    };
    let client = || async {
        let stream = connect(&at("server", 80)).await.unwrap();
        assert_eq!(stream.peer_address().unwrap().to_string(), "10.0.0.1:80");
        write(&stream, "question").await.unwrap();
        stream.shutdown();
        assert_eq!(read_all(&stream).await.unwrap(), b"answer");
        assert!(read(&stream).await.unwrap().is_empty(), "the end stays");
    };
    let report = pair(Sim::new(1), server, client).unwrap();
    assert_eq!((report.network.connections, report.network.stream_bytes), (1, 14));
}

#[test]
fn who_does_not_listen_refuses_and_who_is_not_there_is_unreachable() {
    let client = || async {
        assert_eq!(connect(&at("server", 81)).await.err(), Some(Error::ConnectionRefused));
        let begun = now();
        let nobody = std::net::SocketAddr::from(([10, 0, 0, 77], 80)).into();
        assert_eq!(connect(&nobody).await.err(), Some(Error::HostUnreachable));
        assert_eq!((now() - begun).as_secs(), 3);
        let abroad = ConnectOptions { from: Some(at("server", 0)) };
        let answer = stack().unwrap().connect(&at("server", 80), &abroad).await;
        assert_eq!(answer.err(), Some(Error::AddressNotAvailable));
        let unix = sunstar_net::UnixAddress::new("/socket").unwrap().into();
        assert_eq!(connect(&unix).await.err(), Some(Error::Unsupported));
    };
    let report = pair(Sim::new(2), || async {}, client).unwrap();
    assert_eq!(report.network.refused, 1);
}

#[test]
fn addresses_are_had_once_unless_they_are_shared() {
    let server = || async {
        let first = listen(80);
        let stack = stack().unwrap();
        let again = |options: &ListenOptions| stack.listen(&at("server", 80), options).map(drop);
        let shared = ListenOptions { reuse_port: true, ..ListenOptions::default() };
        assert_eq!(again(&ListenOptions::default()), Err(Error::AddressInUse));
        assert_eq!(again(&shared), Err(Error::AddressInUse));
        assert_eq!(stack.listen(&at("client", 80), &shared).err(), Some(Error::AddressNotAvailable));
        drop(first);
        let ports: Vec<_> = (0..3).map(|_| listen_with(90, &shared)).collect();
        let free = listen(0).local_address().unwrap().inet().unwrap().port();
        assert!(free >= 32_768);
        // Each of those who share gets some of the connections.
        let counts = Rc::new(Cell::new([0; 3]));
        for (index, listener) in ports.iter().cloned().enumerate() {
            let counts = Rc::clone(&counts);
            drop(spawn(async move {
                while let Ok(stream) = accept_detached(&listener).await {
                    let mut changed = counts.get();
                    changed[index] += 1;
                    counts.set(changed);
                    drop(attach(stream));
                }
            }));
        }
        sleep(Duration::from_secs(5)).await;
        assert!(counts.get().iter().all(|&count| count > 3), "{:?}", counts.get());
        ports.iter().for_each(|listener| listener.close());
    };
    let client = || async {
        for _ in 0..30 {
            let stream = connect(&at("server", 90)).await.unwrap();
            assert!(read(&stream).await.unwrap().is_empty());
        }
    };
    pair(Sim::new(1), server, client).unwrap();
}

#[test]
fn a_writer_waits_for_a_reader() {
    const TOTAL: usize = 1 << 20;
    let server = || async {
        let stream = accept(&listen(80)).await;
        sleep(Duration::from_secs(10)).await;
        assert_eq!(read_all(&stream).await.unwrap().len(), TOTAL);
    };
    let client = || async {
        let stream = connect(&at("server", 80)).await.unwrap();
        stream.set_option(StreamOption::SendQueueBytes(10_000)).unwrap();
        for sent in 0..TOTAL / 1024 {
            write(&stream, vec![7; 1024]).await.unwrap();
            let bound_bytes = 64 * 1024 + 10_000 + 1024;
            assert!(
                now().as_nanos() > 10_000_000_000 || sent * 1024 <= bound_bytes,
                "{sent} KiB before anything was read"
            );
        }
        stream.shutdown();
        flush(&stream).await.unwrap();
    };
    pair(Sim::new(4), server, client).unwrap();
}

#[test]
fn an_abort_resets_the_peer_after_what_arrived_before() {
    let server = || async {
        let stream = accept(&listen(80)).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(read(&stream).await.unwrap(), b"hello");
        assert_eq!(read(&stream).await, Err(Error::ConnectionReset));
        assert_eq!(read(&stream).await, Err(Error::ConnectionReset), "again");
        assert_eq!(write(&stream, "x").await, Err(Error::ConnectionReset));
    };
    let client = || async {
        let stream = connect(&at("server", 80)).await.unwrap();
        write(&stream, "hello").await.unwrap();
        flush(&stream).await.unwrap();
        stream.abort();
        assert_eq!(read(&stream).await, Err(Error::ConnectionAborted));
    };
    let mut options = SimOptions::default();
    options.network.split = Chance::NEVER;
    pair(Sim::with_options(5, options), server, client).unwrap();
}

#[test]
fn closing_sends_what_is_queued_but_resets_who_sends_on() {
    let server = || async {
        let listener = listen(80);
        let stream = accept(&listener).await;
        assert_eq!(read_all(&stream).await.unwrap().len(), 500_000, "all of it, though the client has gone");
        let stream = accept(&listener).await;
        while write(&stream, vec![1; 1000]).await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(read(&stream).await, Err(Error::ConnectionReset));
    };
    let client = || async {
        let stream = connect(&at("server", 80)).await.unwrap();
        stream.enqueue(Buffer::from(vec![5; 500_000]));
        drop(stream);
        let stream = connect(&at("server", 80)).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        drop(stream);
    };
    pair(Sim::new(6), server, client).unwrap();
}

#[test]
fn a_closed_stream_has_a_minute_to_be_sent() {
    let server = || async {
        let stream = accept(&listen(80)).await;
        sleep(Duration::from_secs(50)).await;
        assert!(read(&stream).await.is_ok());
        sleep(Duration::from_secs(50)).await;
        assert_eq!(read_all(&stream).await, Err(Error::ConnectionReset));
    };
    let client = || async {
        let stream = connect(&at("server", 80)).await.unwrap();
        stream.enqueue(Buffer::from(vec![5; 500_000]));
    };
    let options = SimOptions { linger: Duration::from_secs(200), ..SimOptions::default() };
    pair(Sim::with_options(7, options), server, client).unwrap();
}

#[test]
fn a_full_backlog_makes_clients_ask_again_until_they_give_up() {
    let server = || async {
        let listener = listen_with(80, &ListenOptions { backlog: 1, ..ListenOptions::default() });
        sleep(Duration::from_secs(5)).await;
        let mut accepted = 0;
        while accepted < 2 {
            drop(accept(&listener).await);
            accepted += 1;
        }
        sleep(Duration::from_secs(300)).await;
    };
    let client = || async {
        let first = connect(&at("server", 80)).await.unwrap();
        let second = connect(&at("server", 80)).await.unwrap();
        assert!(now().as_nanos() > 5_000_000_000, "it was asked for again");
        let third = connect(&at("server", 80)).await.unwrap();
        assert_eq!(connect(&at("server", 80)).await.err(), Some(Error::TimedOut));
        drop((first, second, third));
    };
    let report = pair(Sim::new(8), server, client).unwrap();
    assert!(report.network.full_backlogs > 6);
}

#[test]
fn a_stream_moves_to_another_shard_with_what_was_not_read() {
    let server = || async {
        let listener = listen(80);
        let stream = accept(&listener).await;
        let first = read(&stream).await.unwrap();
        write(&stream, first.clone()).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let moving = detach(&stream).await.unwrap();
        assert_eq!(read(&stream).await, Err(Error::NotConnected));
        let read = submit_to(ShardId::all(2).nth(1).unwrap(), move || async move {
            let stream = attach(moving);
            let rest = read_all(&stream).await.unwrap();
            write(&stream, "from the other shard").await.unwrap();
            rest.len()
        });
        assert_eq!(first.len() + read.await.unwrap(), 10_000);
        // One that is handed over and then dropped is closed.
        let stream = accept(&listener).await;
        let moving = detach(&stream).await.unwrap();
        submit_to(ShardId::all(2).nth(1).unwrap(), move || async move { drop(moving) }).await.unwrap();
    };
    let client = || async {
        let stream = connect(&at("server", 80)).await.unwrap();
        write(&stream, vec![9; 10_000]).await.unwrap();
        stream.shutdown();
        assert!(read_all(&stream).await.unwrap().ends_with(b"from the other shard"));
        let stream = connect(&at("server", 80)).await.unwrap();
        assert!(read(&stream).await.unwrap().is_empty());
    };
    let mut sim = Sim::new(9);
    sim.host("server", 2, server);
    sim.host("client", 1, client);
    let report = sim.run().unwrap();
    assert!(report.hosts[0].shards[1].spawned_tasks > 0);
}

#[test]
fn a_connection_that_nobody_waits_for_any_more_is_given_up() {
    let server = || async {
        let listener = listen(80);
        let stream = accept(&listener).await;
        assert_eq!(read(&stream).await, Err(Error::ConnectionReset));
        listener.close();
        assert_eq!(accept_detached(&listener).await.err(), Some(Error::Stopped));
        sleep(Duration::from_secs(2)).await;
    };
    let client = || async {
        let to = at("server", 80);
        let connecting = spawn(async move { connect(&to).await.map(drop) });
        sleep(Duration::from_micros(150)).await;
        connecting.abort();
        assert!(connecting.await.is_err());
        sleep(Duration::from_secs(1)).await;
        assert_eq!(connect(&at("server", 80)).await.err(), Some(Error::ConnectionRefused));
    };
    let mut options = SimOptions::default();
    // The server knows of it by then, and the client does not know that.
    options.network.latency = Duration::from_micros(100)..=Duration::from_micros(100);
    options.network.hold_up = Chance::NEVER;
    pair(Sim::with_options(10, options), server, client).unwrap();
}

#[test]
fn a_host_speaks_with_itself_and_no_fault_is_injected_there() {
    let mut options = SimOptions::default();
    (options.network.reset, options.network.refuse) = (Chance::ALWAYS, Chance::ALWAYS);
    let mut sim = Sim::with_options(11, options);
    sim.host("alone", 1, || async {
        let listener = listen(80);
        let to = std::net::SocketAddr::from(([127, 0, 0, 1], 80)).into();
        let stream = connect(&to).await.unwrap();
        let other = accept(&listener).await;
        write(&stream, "hello").await.unwrap();
        stream.shutdown();
        assert_eq!(read_all(&other).await.unwrap(), b"hello");
    });
    sim.run().unwrap();
}

#[test]
fn faults_are_injected_between_hosts() {
    let mut options = SimOptions::default();
    options.network.reset = Chance::ALWAYS;
    let server = || async {
        let stream = accept(&listen(80)).await;
        assert_eq!(read(&stream).await, Err(Error::ConnectionReset));
    };
    let client = || async {
        let stream = connect(&at("server", 80)).await.unwrap();
        write(&stream, "hello").await.unwrap();
        assert_eq!(read(&stream).await, Err(Error::ConnectionReset));
    };
    let report = pair(Sim::with_options(12, options), server, client).unwrap();
    assert!(report.network.injected_resets > 0);
    let mut options = SimOptions::default();
    options.network.refuse = Chance::ALWAYS;
    let server = || async {
        let _listener = listen(80);
        sleep(Duration::from_secs(1)).await;
    };
    let client = || async {
        assert_eq!(connect(&at("server", 80)).await.err(), Some(Error::ConnectionRefused));
    };
    pair(Sim::with_options(12, options), server, client).unwrap();
}

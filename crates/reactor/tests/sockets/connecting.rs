//! Connections in the making.

use std::net::TcpListener;
use std::time::Duration;

use sunstar_executor::combine::{TimedOut, parallel_for_each, with_timeout};
use sunstar_executor::spawn;
use sunstar_net::socket::{ConnectOptions, ListenOptions};
use sunstar_net::{Address, Error, UnixAddress};
use sunstar_packet::Buffer;
use sunstar_reactor::io_stats;

use crate::support::*;

/// An address that nobody listens at.
fn nowhere() -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    Address::from(listener.local_addr().expect("it is bound"))
}

#[test]
fn a_connection_to_nowhere_is_refused() {
    on_each_driver(1, || async {
        assert_eq!(connect(&nowhere()).await.err(), Some(Error::ConnectionRefused));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let unix = UnixAddress::new(path.as_os_str().as_encoded_bytes()).expect("temporary paths are short").into();
        assert_eq!(connect(&unix).await.err(), Some(Error::NotFound));
        drop(std::os::unix::net::UnixListener::bind(&path).expect("the path is free"));
        assert_eq!(connect(&unix).await.err(), Some(Error::ConnectionRefused));
        let impossible = Address::Unix(UnixAddress::Path(vec![]));
        assert_eq!(connect(&impossible).await.err(), Some(Error::InvalidInput));
    });
}

#[test]
fn a_connection_that_gets_no_answer_can_be_given_up() {
    if !is_alone("connecting::a_connection_that_gets_no_answer_can_be_given_up") {
        return;
    }
    on_each_driver(1, || async {
        let options = ListenOptions { backlog: 1, ..ListenOptions::default() };
        let listener = network().listen(&loopback(), &options).expect("a port is free");
        let address = listener.local_address().expect("it is bound");
        // Fill the queue until attempts get no answer.
        let mut clients = Vec::new();
        while let Ok(client) = with_timeout(Duration::from_millis(100), connect(&address)).await {
            clients.push(client.expect("it listens"));
        }
        // What is given up may go a moment later.
        sunstar_executor::timer::sleep(Duration::from_millis(1)).await;
        let before = descriptors();
        for _ in 0..20 {
            assert!(matches!(with_timeout(Duration::from_millis(1), connect(&address)).await, Err(TimedOut)));
        }
        drop(network().connect(&address, &ConnectOptions::default()));
        sunstar_executor::timer::sleep(Duration::from_millis(1)).await;
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn a_unix_socket_whose_queue_is_full_is_waited_for() {
    on_each_driver(1, || async {
        let folder = tempfile::tempdir().expect("a folder");
        let [.., address] = addresses(&folder);
        let options = ListenOptions { backlog: 1, ..ListenOptions::default() };
        let listener = network().listen(&address, &options).expect("the name is free");
        let clients = spawn(async move {
            parallel_for_each(0..10, move |_| {
                let connecting = network().connect(&address, &ConnectOptions::default());
                async move { connecting.await.map(drop) }
            })
            .await
        });
        for _ in 0..10 {
            accept(&listener).await.expect("one connects");
        }
        with_timeout(PATIENCE, clients).await.expect("all got in").expect("no panic").expect("no error");
    });
}

#[test]
fn a_connection_comes_from_where_it_is_told_to() {
    on_each_driver(1, || async {
        let (listener, address) = listen(&loopback());
        let from = Address::Inet("127.0.0.9:0".parse().expect("an address"));
        let options = ConnectOptions { from: Some(from) };
        let client = network().connect(&address, &options).await.expect("it listens");
        let accepted = accept(&listener).await.expect("one has connected");
        let peer = attach(accepted).peer_address().ok().and_then(|peer| peer.inet()).expect("it is one");
        assert_eq!(peer.ip().to_string(), "127.0.0.9");
        assert_eq!(client.local_address(), Ok(peer.into()));
        let elsewhere = Address::Inet("192.0.2.1:0".parse().expect("an address"));
        let options = ConnectOptions { from: Some(elsewhere) };
        assert_eq!(network().connect(&address, &options).await.err(), Some(Error::AddressNotAvailable));
        let unix = ConnectOptions { from: Some(UnixAddress::Unnamed.into()) };
        assert_eq!(network().connect(&address, &unix).await.err(), Some(Error::Unsupported));
    });
}

/// One connection after the other, each with a request and an answer, each closed by the client.
async fn connect_in_a_row(count: usize) {
    let (listener, address) = listen(&loopback());
    let before = io_stats();
    let server = spawn(async move {
        for _ in 0..count {
            let stream = attach(accept(&listener).await.expect("one connects"));
            spawn(async move {
                let request = read(&stream).await.expect("a request");
                write(&stream, request).await.expect("it is connected");
                assert_eq!(read(&stream).await, Ok(Buffer::new()));
            });
        }
    });
    for round in 0..count {
        let client = connect(&address).await.expect("it listens");
        let request = Buffer::from(round.to_ne_bytes().to_vec());
        write(&client, request.clone()).await.expect("it is connected");
        assert_eq!(read(&client).await, Ok(request));
    }
    server.await.expect("no panic");
    let now = io_stats();
    assert_eq!(now.accepted - before.accepted, count as u64);
    assert_eq!(now.connected - before.connected, count as u64);
    assert_eq!(now.accept_failures, before.accept_failures);
}

#[test]
fn connections_in_a_row_leave_nothing_behind() {
    if !is_alone("connecting::connections_in_a_row_leave_nothing_behind") {
        return;
    }
    for backend in backends() {
        let before = descriptors();
        on_driver(backend, 1, || connect_in_a_row(1000));
        assert_eq!(descriptors(), before);
    }
}

#[test]
#[ignore = "takes a while"]
fn a_hundred_thousand_connections_in_a_row_leave_nothing_behind() {
    if !is_alone("connecting::a_hundred_thousand_connections_in_a_row_leave_nothing_behind") {
        return;
    }
    for backend in backends() {
        let before = descriptors();
        on_driver(backend, 1, || connect_in_a_row(100_000));
        assert_eq!(descriptors(), before);
    }
}

#[test]
fn a_wait_for_a_full_unix_socket_can_be_given_up() {
    if !is_alone("connecting::a_wait_for_a_full_unix_socket_can_be_given_up") {
        return;
    }
    on_each_driver(1, || async {
        let folder = tempfile::tempdir().expect("a folder");
        let [.., address] = addresses(&folder);
        let options = ListenOptions { backlog: 1, ..ListenOptions::default() };
        let listener = network().listen(&address, &options).expect("the name is free");
        let before = descriptors();
        let mut clients = Vec::new();
        while let Ok(client) = with_timeout(Duration::from_millis(100), connect(&address)).await {
            clients.push(client.expect("it listens"));
        }
        for _ in 0..20 {
            assert!(matches!(with_timeout(Duration::from_millis(1), connect(&address)).await, Err(TimedOut)));
        }
        let all_gone = async {
            while descriptors() != before + clients.len() {
                sunstar_executor::timer::sleep(Duration::from_millis(1)).await;
            }
        };
        with_timeout(Duration::from_secs(5), all_gone).await.expect("nothing is left of them");
        let mut count = 0;
        while let Ok(accepted) = with_timeout(Duration::from_millis(20), accept(&listener)).await {
            accepted.expect("one has connected");
            count += 1;
        }
        assert_eq!(count, clients.len());
    });
}

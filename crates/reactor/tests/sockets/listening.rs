//! Sockets that listen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::rc::Rc;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::spawn;
use sunstar_net::socket::{ListenOptions, stack};
use sunstar_net::{Address, Error};
use sunstar_packet::Buffer;
use sunstar_reactor::io_stats;

use crate::support::*;

#[test]
fn a_listener_that_is_closed_drains_what_is_established() {
    on_each_driver(1, || async {
        let folder = tempfile::tempdir().expect("a folder");
        for address in addresses(&folder) {
            let (listener, address) = listen(&address);
            let mut clients = Vec::new();
            for _ in 0..3 {
                clients.push(connect(&address).await.expect("it listens"));
            }
            listener.close();
            for client in &clients {
                let server = attach(accept(&listener).await.expect("it was established"));
                write(client, "hello").await.expect("it is connected");
                assert_eq!(read(&server).await, Ok(Buffer::from("hello")));
            }
            assert_eq!(accept(&listener).await.err(), Some(Error::Stopped));
            assert_eq!(accept(&listener).await.err(), Some(Error::Stopped));
            let error = connect(&address).await.err();
            assert!(matches!(error, Some(Error::ConnectionRefused | Error::NotFound)), "{address}: {error:?}");
        }
    });
}

#[test]
fn closing_ends_the_wait_of_whoever_accepts() {
    on_each_driver(1, || async {
        let (listener, _) = listen(&loopback());
        let acceptor = Rc::clone(&listener);
        let waiting = spawn(async move { accept(&acceptor).await });
        sunstar_executor::yield_now().await;
        listener.close();
        let answer = with_timeout(PATIENCE, waiting).await.expect("it is told").expect("no panic");
        assert_eq!(answer.err(), Some(Error::Stopped));
    });
}

#[test]
fn dropping_a_listener_frees_its_address() {
    on_each_driver(1, || async {
        let folder = tempfile::tempdir().expect("a folder");
        for address in addresses(&folder) {
            let (listener, address) = listen(&address);
            // A connection that has ended on this side first leaves the port in use, in a way that does not matter.
            let client = connect(&address).await.expect("it listens");
            drop(attach(accept(&listener).await.expect("one has connected")));
            assert_eq!(read(&client).await, Ok(Buffer::new()));
            let again = network().listen(&address, &ListenOptions::default());
            assert_eq!(again.err(), Some(Error::AddressInUse));
            drop((client, listener));
            drop(listen(&address));
        }
        assert!(!folder.path().join("socket").exists());
    });
}

#[test]
fn several_sockets_share_a_port_if_all_of_them_say_so() {
    on_each_driver(1, || async {
        let shared = ListenOptions { reuse_port: true, ..ListenOptions::default() };
        let first = network().listen(&loopback(), &shared).expect("a port is free");
        let address = first.local_address().expect("it is bound");
        let second = network().listen(&address, &shared).expect("the port is shared");
        assert_eq!(network().listen(&address, &ListenOptions::default()).err(), Some(Error::AddressInUse));
        // Wherever the kernel puts them, all come out.
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(connect(&address).await.expect("it listens"));
        }
        first.close();
        second.close();
        let mut count = 0;
        for listener in [first, second] {
            while accept(&listener).await.is_ok() {
                count += 1;
            }
        }
        assert_eq!(count, 20);
    });
}

#[test]
fn connections_are_counted_and_dropped_waits_lose_none() {
    on_each_driver(1, || async {
        let (listener, address) = listen(&loopback());
        let before = io_stats();
        let inet = address.inet().expect("it is one");
        let clients = std::thread::spawn(move || {
            (0..300).map(|_| TcpStream::connect(inet).expect("it listens")).collect::<Vec<_>>()
        });
        let mut accepted = Vec::new();
        while accepted.len() < 300 {
            // Dropped while it waits, or with an answer.
            let wait = with_timeout(std::time::Duration::from_micros(50), accept(&listener)).await;
            accepted.extend(wait.map(|accepted| accepted.expect("one has connected")));
        }
        assert_eq!(clients.join().expect("no panic").len(), 300);
        let now = io_stats();
        assert_eq!((now.accepted - before.accepted, now.accept_failures), (300, before.accept_failures));
    });
}

#[test]
fn a_closed_listener_drains_all_that_its_queue_holds() {
    on_each_driver(1, || async {
        let (listener, address) = listen(&loopback());
        let inet = address.inet().expect("it is one");
        let mut clients = Vec::new();
        while let Ok(client) = TcpStream::connect_timeout(&inet, std::time::Duration::from_millis(100)) {
            clients.push(client);
        }
        listener.close();
        let mut count = 0;
        while accept(&listener).await.is_ok() {
            count += 1;
        }
        assert_eq!(count, clients.len());
    });
}

/// ipv6(7): who listens at all addresses of IPv6 listens at those of IPv4 too, unless he wants IPv6 alone, and sees them in the form of IPv6.
#[test]
fn both_versions_are_listened_at() {
    on_each_driver(1, || async {
        let all: Address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into();
        for ipv6_only in [false, true] {
            let options = ListenOptions { ipv6_only, with_peer: true, ..ListenOptions::default() };
            let listener = stack().unwrap().listen(&all, &options).expect("there are ports");
            let port = listener.local_address().unwrap().inet().unwrap().port();
            let client = connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).await;
            if ipv6_only {
                assert_eq!(client.err(), Some(Error::ConnectionRefused));
                continue;
            }
            let accepted = accept(&listener).await.expect("one has connected");
            let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
            let known = accepted.peer().and_then(Address::inet).map(|peer| peer.ip());
            assert_eq!(known, Some(mapped));
            let stream = attach(accepted);
            assert_eq!(stream.peer_address().map(|peer| peer.inet().unwrap().ip()), Ok(mapped));
            assert_eq!(stream.local_address(), Ok(SocketAddr::new(mapped, port).into()));
        }
    });
}

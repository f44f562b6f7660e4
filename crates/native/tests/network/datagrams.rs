//! Datagrams.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use sunstar_executor::timer::sleep;
use sunstar_net::socket::DatagramOptions;
use sunstar_net::{Address, Error};
use sunstar_packet::Buffer;

use crate::support::*;

#[test]
fn datagrams_come_whole_with_their_senders() {
    let serve = || async {
        let socket = bind(53);
        for len in [0, 1, 1_000, 20_000] {
            let (bytes, from) = receive(&socket).await.unwrap();
            assert!(bytes == pattern(0, len));
            socket.enqueue(bytes, Some(&from));
        }
        sleep(Duration::from_millis(100)).await;
    };
    pair(serve, || async {
        let socket = bind(0);
        for len in [0, 1, 1_000, 20_000] {
            poll_fn(|cx| socket.poll_writable(cx)).await.unwrap();
            socket.enqueue(Buffer::from(pattern(0, len)), Some(&server(53)));
            let (bytes, from) = receive(&socket).await.unwrap();
            assert!(bytes == pattern(0, len));
            assert_eq!(from, server(53));
        }
    });
}

#[test]
fn who_is_connected_hears_that_nobody_listens() {
    pair(
        || async { sleep(Duration::from_secs(1)).await },
        || async {
            let socket = bind(0);
            socket.connect(&server(53)).unwrap();
            socket.enqueue("anybody?".into(), None);
            assert_eq!(receive(&socket).await.err(), Some(Error::ConnectionRefused));
        },
    );
}

#[test]
fn what_cannot_be_sent_is_told() {
    pair(
        || async {},
        || async {
            let socket = bind(0);
            let fails = |to: Option<Address>, len| {
                socket.enqueue(Buffer::from(pattern(0, len)), to.as_ref());
                poll_fn(|cx| socket.poll_writable(cx))
            };
            let elsewhere = SocketAddr::from(([192, 0, 2, 1], 53)).into();
            let all = SocketAddr::from(([255, 255, 255, 255], 53)).into();
            assert_eq!(fails(None, 1).await, Err(Error::NotConnected));
            assert_eq!(fails(Some(elsewhere), 1).await, Err(Error::NetworkUnreachable));
            assert_eq!(fails(Some(server(53)), 65_600).await, Err(Error::MessageTooLong));
            assert_eq!(fails(Some(all), 1).await, Err(Error::PermissionDenied));
            assert_eq!(fails(Some(server(53)), 1).await, Ok(()));
            let port = socket.local_address().unwrap();
            let again = network().bind(&port, &DatagramOptions::default());
            assert_eq!(again.err(), Some(Error::AddressInUse));
        },
    );
}

/// Filters go when nobody holds the network: when they are removed, when there are too many of them, and at the end.
#[test]
fn filters_may_own_sockets() {
    use sunstar_native::filter::{Direction, MAX_FILTERS, TooManyFilters, Verdict};

    let owning = |port| {
        let socket = bind(port);
        move |_: &mut sunstar_native::filter::Filtered<'_>| {
            let _ = &socket;
            Verdict::Pass
        }
    };
    let serve = move || async move {
        let (network, _) = native();
        let first = network.add_filter(Direction::Input, owning(53)).expect("there is room");
        assert!(network.remove_filter(first) && !network.remove_filter(first));
        for port in (53..).take(MAX_FILTERS) {
            network.add_filter(Direction::Input, owning(port)).expect("there is room");
        }
        assert_eq!(network.add_filter(Direction::Input, owning(1_000)), Err(TooManyFilters));
    };
    pair(serve, || async {});
}

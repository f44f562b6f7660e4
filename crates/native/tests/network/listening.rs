//! Listeners.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use sunstar_executor::timer::sleep;
use sunstar_net::socket::{ListenOptions, install, stack};
use sunstar_net::{Address, Error, Listener as NetListener, ListenerOptions, TcpListener, TcpStream};

use crate::support::*;

#[test]
fn an_address_is_listened_at_once_and_is_free_again() {
    pair(
        || async {
            let listener = listen(80);
            let options = ListenOptions::default();
            assert_eq!(network().listen(&any(80), &options).err(), Some(Error::AddressInUse));
            assert_eq!(network().listen(&server(0), &options).map(|_| ()), Ok(()));
            let abroad = SocketAddr::from((CLIENT, 80)).into();
            assert_eq!(network().listen(&abroad, &options).err(), Some(Error::AddressNotAvailable));
            drop(listener);
            drop(listen(80));
            let one = listen(0);
            let other = listen(0);
            let ports = [&one, &other].map(|listener| listener.local_address().unwrap().inet().unwrap().port());
            assert!(ports[0] != ports[1] && ports.iter().all(|port| *port >= 32_768), "{ports:?}");
        },
        || async {},
    );
}

#[test]
fn who_is_established_when_a_listener_closes_is_still_accepted() {
    let serve = || async {
        let listener = listen(80);
        sleep(Duration::from_secs(1)).await;
        listener.close();
        let stream = accept(&listener).await;
        assert_eq!(read_all(&stream).await, Ok(b"early".to_vec()));
        assert_eq!(accept_detached(&listener).await.err(), Some(Error::Stopped));
        sleep(Duration::from_secs(2)).await;
    };
    pair(serve, || async {
        let stream = connect(&server(80)).await.unwrap();
        write(&stream, "early").await.unwrap();
        stream.shutdown();
        sleep(Duration::from_secs(2)).await;
        assert_eq!(connect(&server(80)).await.err(), Some(Error::ConnectionRefused));
    });
}

#[test]
fn a_dropped_listener_resets_who_was_not_accepted() {
    let serve = || async {
        let listener = listen(80);
        sleep(Duration::from_secs(1)).await;
        drop(listener);
        sleep(Duration::from_secs(1)).await;
    };
    pair(serve, || async {
        let stream = connect(&server(80)).await.unwrap();
        assert_eq!(read(&stream).await, Err(Error::ConnectionReset));
    });
}

#[test]
fn the_types_of_applications_work_on_it() {
    let serve = || async {
        let address = stack().unwrap().default_address();
        assert_eq!(address, SERVER);
        let mut listener = TcpListener::bind((address, 80).into(), ListenerOptions::default()).await.unwrap();
        let mut stream = listener.accept().await.unwrap();
        let bytes = stream.read().await.unwrap();
        stream.write(bytes).await.unwrap();
        stream.flush().await.unwrap();
    };
    pair(serve, || async {
        let mut stream = TcpStream::connect((SERVER, 80).into()).await.unwrap();
        stream.write("hello").await.unwrap();
        assert_eq!(stream.read().await.unwrap(), b"hello");
    });
}

#[test]
fn two_networks_of_one_shard_speak_with_each_other() {
    pair(
        || async {
            let (here, there) = sunstar_device::link(sunstar_device::LinkOptions::default());
            let server_network = start(here, SERVER, sunstar_native::NetworkOptions::DEFAULT);
            install(std::rc::Rc::new(server_network));
            let mut listener = NetListener::bind(any(80), ListenerOptions::default()).await.unwrap();
            start(there, CLIENT, sunstar_native::NetworkOptions::DEFAULT);
            let client = connect(&server(80)).await.unwrap();
            let mut accepted = listener.accept().await.unwrap();
            write(&client, "from the other network").await.unwrap();
            assert_eq!(accepted.read().await.unwrap(), b"from the other network");
        },
        || async {},
    );
}

/// RFC 3493 §3.7, as the kernel has it: who listens at all addresses of IPv6 listens at those of IPv4 too, unless he wants IPv6 alone.
#[test]
fn both_versions_are_listened_at() {
    let serve = || async {
        let all: Address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80)).into();
        let only = ListenOptions { ipv6_only: true, ..ListenOptions::default() };
        let v4 = network().listen(&any(80), &only).unwrap();
        assert_eq!(network().listen(&all, &ListenOptions::default()).err(), Some(Error::AddressInUse));
        drop(network().listen(&all, &only).unwrap());
        drop(v4);
        let listener = network().listen(&all, &ListenOptions::default()).unwrap();
        assert_eq!(listener.local_address(), Ok(all.clone()));
        assert_eq!(network().listen(&any(80), &only).err(), Some(Error::AddressInUse));
        let mapped = |ip: Ipv4Addr| IpAddr::V6(ip.to_ipv6_mapped());
        for _ in 0..2 {
            let accepted = accept_detached(&listener).await.unwrap();
            let known = accepted.peer().and_then(Address::inet).map(|peer| peer.ip());
            assert_eq!(known, Some(mapped(CLIENT)));
            let stream = attach(accepted);
            assert_eq!(stream.peer_address().map(|peer| peer.inet().unwrap().ip()), Ok(mapped(CLIENT)));
            assert_eq!(stream.local_address(), Ok(SocketAddr::new(mapped(SERVER), 80).into()));
            assert_eq!(read_all(&stream).await, Ok(b"hello".to_vec()));
        }
        drop(listener);
        drop(listen(80));
    };
    pair(serve, || async {
        sleep(Duration::from_millis(10)).await;
        let mapped: Address = SocketAddr::from((SERVER.to_ipv6_mapped(), 80)).into();
        for to in [server(80), mapped] {
            let stream = connect(&to).await.unwrap();
            assert_eq!(stream.peer_address(), Ok(to));
            write(&stream, "hello").await.unwrap();
            stream.shutdown();
            assert_eq!(read_all(&stream).await, Ok(Vec::new()));
        }
    });
}

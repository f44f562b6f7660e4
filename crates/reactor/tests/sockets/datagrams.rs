//! Datagram sockets.

use std::future::poll_fn;
use std::net::UdpSocket;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::{spawn, yield_now};
use sunstar_net::socket::DatagramOptions;
use sunstar_net::{Address, Error, UnixAddress};
use sunstar_packet::Buffer;
use sunstar_reactor::io_stats;

use crate::support::*;

fn bind(address: &Address) -> (Datagrams, Address) {
    let socket = network().bind(address, &DatagramOptions::default()).expect("the address is free");
    let address = socket.local_address().expect("it is bound");
    (socket, address)
}

async fn receive(socket: &Datagrams) -> Result<(Buffer, Address), Error> {
    poll_fn(|cx| socket.poll_receive(cx)).await
}

async fn send(socket: &Datagrams, bytes: impl Into<Buffer>, to: Option<&Address>) -> Result<(), Error> {
    poll_fn(|cx| socket.poll_writable(cx)).await?;
    socket.enqueue(bytes.into(), to);
    Ok(())
}

#[test]
fn datagrams_arrive_whole_and_say_from_where() {
    on_each_driver(1, || async {
        let folder = tempfile::tempdir().expect("a folder");
        for address in addresses(&folder) {
            let (one, one_address) = bind(&address);
            let other = match &one_address {
                Address::Inet(_) => address.clone(),
                Address::Unix(_) => {
                    UnixAddress::new(format!("@{}", folder.path().display())).expect("it is short").into()
                }
            };
            let (other, other_address) = bind(&other);
            for len in [1, 0, 100, 60_000] {
                send(&one, pattern(0, len), Some(&other_address)).await.expect("there is room");
                assert_eq!(receive(&other).await, Ok((Buffer::from(pattern(0, len)), one_address.clone())));
            }
            other.connect(&one_address).expect("it can be");
            send(&other, "no address", None).await.expect("there is room");
            assert_eq!(receive(&one).await, Ok((Buffer::from("no address"), other_address)));
        }
        assert!(!folder.path().join("socket").exists(), "the path is removed with the socket");
    });
}

#[test]
fn a_datagram_that_nobody_takes_is_an_error_later() {
    on_each_driver(1, || async {
        let closed = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port is free");
        let (socket, _) = bind(&loopback());
        socket.connect(&closed.into()).expect("it can be");
        send(&socket, "hello?", None).await.expect("there is room");
        let answer = with_timeout(PATIENCE, receive(&socket)).await.expect("the host says so");
        assert_eq!(answer, Err(Error::ConnectionRefused));
        // The socket is as good as before.
        let (other, other_address) = bind(&loopback());
        send(&socket, "hello", Some(&other_address)).await.expect("there is room");
        assert_eq!(receive(&other).await.map(|(bytes, _)| bytes), Ok(Buffer::from("hello")));
    });
}

#[test]
fn a_datagram_that_is_too_long_is_an_error() {
    on_each_driver(1, || async {
        let (socket, address) = bind(&loopback());
        send(&socket, vec![0; 70_000], Some(&address)).await.expect("there is room");
        let answer = with_timeout(PATIENCE, receive(&socket)).await.expect("the system says so");
        assert_eq!(answer, Err(Error::MessageTooLong));
    });
}

#[test]
fn the_send_queue_is_bounded() {
    on_each_driver(1, || async {
        let (socket, address) = bind(&loopback());
        let before = io_stats().dropped_datagrams;
        // Nothing is sent before this task lets others run.
        for _ in 0..100 {
            socket.enqueue(Buffer::from(vec![7; 10_000]), Some(&address));
        }
        let dropped = io_stats().dropped_datagrams - before;
        assert!((1..100).contains(&dropped), "{dropped} are dropped");
        poll_fn(|cx| socket.poll_writable(cx)).await.expect("they are sent");
        assert_eq!(receive(&socket).await.map(|(bytes, _)| bytes.len()), Ok(10_000));
    });
}

#[test]
fn datagrams_to_a_unix_socket_wait_for_room_there() {
    on_each_driver(1, || async {
        let folder = tempfile::tempdir().expect("a folder");
        let [.., address] = addresses(&folder);
        let (receiver, to) = bind(&address);
        let (sender, _) = bind(&UnixAddress::Unnamed.into());
        let sending = spawn(async move {
            for count in 0..2000_u32 {
                send(&sender, count.to_ne_bytes().to_vec(), Some(&to)).await.expect("somebody listens");
            }
            sender
        });
        // The kernel's queue is full before the first one is taken.
        yield_now().await;
        yield_now().await;
        for count in 0..2000_u32 {
            let received =
                with_timeout(PATIENCE, receive(&receiver)).await.expect("it is sent").map(|(bytes, _)| bytes);
            assert_eq!(received, Ok(Buffer::from(count.to_ne_bytes().to_vec())));
        }
        sending.await.expect("no panic");
    });
}

#[test]
fn what_is_queued_is_sent_when_the_socket_is_dropped() {
    on_each_driver(1, || async {
        let (receiver, to) = bind(&loopback());
        let (sender, _) = bind(&loopback());
        for count in 0..3_u8 {
            sender.enqueue(Buffer::from(vec![count]), Some(&to));
        }
        drop(sender);
        for count in 0..3_u8 {
            let bytes = with_timeout(PATIENCE, receive(&receiver)).await.expect("it was sent").map(|(bytes, _)| bytes);
            assert_eq!(bytes, Ok(Buffer::from(vec![count])));
        }
    });
}

#[test]
fn a_connected_socket_receives_from_its_peer_only() {
    on_each_driver(1, || async {
        for is_waited_for in [false, true] {
            let (socket, to) = bind(&loopback());
            let (peer, peer_address) = bind(&loopback());
            let (stranger, _) = bind(&loopback());
            if is_waited_for {
                let wait = with_timeout(std::time::Duration::from_millis(1), receive(&socket));
                assert!(wait.await.is_err());
            }
            send(&stranger, "from elsewhere", Some(&to)).await.expect("there is room");
            sunstar_executor::timer::sleep(std::time::Duration::from_millis(2)).await;
            socket.connect(&peer_address).expect("it can be");
            send(&peer, "from the peer", Some(&to)).await.expect("there is room");
            let received = with_timeout(PATIENCE, receive(&socket)).await.expect("it was sent");
            assert_eq!(received, Ok((Buffer::from("from the peer"), peer_address)), "{is_waited_for}");
        }
    });
}

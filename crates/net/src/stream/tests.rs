//! What streams promise, over a network in memory.

use alloc::rc::Rc;
use core::any::Any;
use core::net::SocketAddr;
use core::time::Duration;

use sunstar_executor::{spawn, try_post};

use super::*;
use crate::testing::{World, never};
use crate::{
    ListenerOptions, Spread, TcpListener, TcpStream, UdpSocket, UnixAddress, UnixDatagram, UnixListener, UnixStream,
};

fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn alone() -> ListenerOptions {
    ListenerOptions { spread: Spread::Off, ..ListenerOptions::default() }
}

/// Two connected streams on shard 0.
pub(crate) fn pair(world: &World) -> (Stream, Stream) {
    world.run(0, async {
        let mut listener = TcpListener::bind(any_port(), alone()).await.unwrap();
        let client = spawn(TcpStream::connect(listener.local_address()));
        let server = listener.accept().await.unwrap();
        (client.await.unwrap().unwrap().into(), server.into())
    })
}

async fn read_to_end(stream: &mut Stream) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    loop {
        let piece = stream.read().await?;
        if piece.is_empty() {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&piece);
    }
}

#[test]
fn bytes_come_in_order_and_then_the_end() {
    for seed in 0..20 {
        let world = World::new(seed, 1);
        let (mut near, mut far) = pair(&world);
        let read = world.spawn(0, async move { (read_to_end(&mut far).await, far) });
        world.run(0, async move {
            near.write("one, ").await.unwrap();
            near.write_buffers(["two, ".into(), "three, ".into()]).await.unwrap();
            let file: Rc<dyn Any> = Rc::new(b"a file of four".to_vec());
            near.send_file(&file, 10, 4).await.unwrap();
            near.shutdown();
            near.flush().await.unwrap();
            assert_eq!(near.write("more").await, Err(Error::BrokenPipe));
            near
        });
        let (bytes, _) = world.output(0, read);
        assert_eq!(bytes.unwrap(), b"one, two, three, four");
    }
}

#[test]
fn a_half_closed_stream_is_still_read() {
    let world = World::new(1, 1);
    let (mut near, mut far) = pair(&world);
    world.run(0, async move {
        near.shutdown();
        assert_eq!(far.read().await.unwrap(), "");
        far.write("still here").await.unwrap();
        drop(far);
        assert_eq!(read_to_end(&mut near).await.unwrap(), b"still here");
    });
}

#[test]
fn a_writer_waits_at_the_bound_and_a_dropped_write_is_not_made() {
    let world = World::new(1, 1);
    let (mut near, mut far) = pair(&world);
    world.run(0, async move {
        near.set_send_queue_bytes(4).unwrap();
        near.write("12345678").await.unwrap();
        assert!(crate::testing::give_up_after(0, near.write("dropped")).await.is_none());
        near.write("9").await.unwrap();
        near.shutdown();
        near.flush().await.unwrap();
        assert_eq!(read_to_end(&mut far).await.unwrap(), b"123456789");
    });
}

#[test]
fn an_abort_is_seen_on_both_sides() {
    let world = World::new(1, 1);
    let (mut near, mut far) = pair(&world);
    world.run(0, async move {
        near.abort();
        assert_eq!(far.read().await, Err(Error::ConnectionReset));
        assert_eq!(near.write("more").await, Err(Error::BrokenPipe));
    });
}

#[test]
fn connecting_fails_and_times_out() {
    let world = World::new(1, 1);
    world.run(0, async {
        let nobody = ([127, 0, 0, 1], 9).into();
        assert_eq!(TcpStream::connect(nobody).await.unwrap_err(), Error::ConnectionRefused);
    });
    let full = world.run(0, async {
        let options = ListenerOptions { backlog: 0, ..alone() };
        TcpListener::bind(any_port(), options).await.unwrap()
    });
    let address = full.local_address();
    let client = world.spawn(0, TcpStream::connect_timeout(address, Duration::from_secs(1)));
    for _ in 0..100 {
        world.round(0);
    }
    assert!(!client.is_finished());
    world.enter(0, || drop(full));
    assert_eq!(world.run(0, client).unwrap().unwrap_err(), Error::ConnectionRefused);
}

#[test]
fn a_connection_in_the_making_ends_with_its_time() {
    let world = World::new(1, 1);
    let address = ([127, 0, 0, 1], 80).into();
    let full = ListenerOptions { backlog: 0, ..alone() };
    let _listener = world.run(0, TcpListener::bind(address, full)).unwrap();
    let client = world.spawn(0, TcpStream::connect_timeout(address, Duration::from_secs(1)));
    for _ in 0..100 {
        world.round(0);
    }
    world.advance(Duration::from_secs(2));
    assert_eq!(world.output(0, client).unwrap_err(), Error::TimedOut);
}

#[test]
fn halves_work_at_the_same_time_and_come_together_again() {
    let world = World::new(3, 1);
    let (mut near, far) = pair(&world);
    let (mut reader, mut writer) = far.into_split();
    world.run(0, async move {
        let echo = spawn(async move {
            while let Ok(bytes) = reader.read().await
                && !bytes.is_empty()
            {
                writer.write(bytes).await.unwrap();
            }
            writer.shutdown();
            reader.reunite(writer)
        });
        let (mut input, mut output) = near.split();
        let send = async {
            output.write_buffers((0..100).map(|_| "0123456789".into())).await.unwrap();
            output.flush().await.unwrap();
            output.shutdown();
        };
        let receive = async {
            let mut count = 0;
            while let Ok(bytes) = input.read().await
                && !bytes.is_empty()
            {
                count += bytes.len();
            }
            count
        };
        let (count, ()) = sunstar_executor::combine::when_all((receive, send)).await;
        assert_eq!(count, 1000);
        assert!(echo.await.unwrap().is_ok());
    });
}

#[test]
fn halves_of_two_streams_stay_apart() {
    let world = World::new(3, 1);
    let (near, far) = pair(&world);
    let ((reader, _keep), (_also, writer)) = (near.into_split(), far.into_split());
    assert!(reader.reunite(writer).is_err());
}

#[test]
fn a_stream_moves_with_its_unread_bytes() {
    for seed in 0..20 {
        let world = World::new(seed, 2);
        let (mut near, mut far) = pair(&world);
        let client = world.spawn(0, async move {
            near.write("read before, ").await.unwrap();
            near.write("unread, ").await.unwrap();
            near.flush().await.unwrap();
            let mut answer = Vec::new();
            while answer.len() < 17 {
                answer.extend(near.read().await.unwrap().iter());
            }
            near.write("and after").await.unwrap();
            near.shutdown();
            answer
        });
        let before = world.run(0, async move {
            let before = far.read().await.unwrap();
            far.write("to be sent before").await.unwrap();
            let seen = before.to_vec();
            far.hand_over(ShardId::new(1), async move |mut stream| {
                assert_eq!(sunstar_executor::current::shard_id(), ShardId::new(1));
                let mut all = seen;
                all.extend(read_to_end(&mut stream).await.unwrap());
                assert_eq!(all, b"read before, unread, and after");
            })
            .await
            .unwrap();
            assert_eq!(far.read().await, Err(Error::NotConnected));
            before
        });
        assert!(b"read before, unread, ".starts_with(&before));
        assert!(b"to be sent before" == &*world.output(0, client));
        assert_eq!(world.network.resets(), 0);
    }
}

#[test]
fn a_stream_that_has_set_out_arrives_although_nobody_waits() {
    let world = World::new(1, 2);
    let (mut near, mut far) = pair(&world);
    world.run(0, async move {
        // The message finds no room at first.
        while try_post(ShardId::new(1), || ()).is_ok() {}
        let moved = far.hand_over(ShardId::new(1), async |mut stream| stream.write("arrived").await.unwrap());
        assert!(crate::testing::give_up_after(0, moved).await.is_none());
        drop(far);
        assert_eq!(read_to_end(&mut near).await.unwrap(), b"arrived");
    });
}

#[test]
fn what_can_not_be_detached_stays() {
    let world = World::new(1, 2);
    let (mut near, mut far) = pair(&world);
    world.run(0, async move {
        near.shutdown();
        assert_eq!(near.hand_over(ShardId::new(1), async |_| never().await).await, Err(Error::NotConnected));
        far.write("hello").await.unwrap();
        far.flush().await.unwrap();
        assert!(b"hello".starts_with(&near.read().await.unwrap()));
    });
}

#[test]
fn each_kind_of_stream_is_known_by_its_address() {
    let world = World::new(1, 1);
    world.run(0, async {
        let address = UnixAddress::new("@stars").unwrap();
        let mut listener = UnixListener::bind(address.clone(), alone()).await.unwrap();
        let connected = spawn(UnixStream::connect(address));
        let mut server = listener.accept().await.unwrap();
        let mut client = connected.await.unwrap().unwrap();
        client.write("hello").await.unwrap();
        assert!(b"hello".starts_with(&server.read().await.unwrap()));
        let stream = TcpStream::try_from(Stream::from(server)).unwrap_err();
        assert!(UnixStream::try_from(stream).is_ok());
    });
}

#[test]
fn datagrams_come_with_their_senders() {
    let world = World::new(1, 1);
    world.run(0, async {
        let mut server = UdpSocket::bind(any_port()).unwrap();
        let mut client = UdpSocket::bind(any_port()).unwrap();
        client.connect(server.local_address().unwrap()).unwrap();
        client.send("ping").await.unwrap();
        let (bytes, from) = server.recv_from().await.unwrap();
        assert_eq!((bytes, from), ("ping".into(), client.local_address().unwrap()));
        server.send_to("pong", from).await.unwrap();
        assert!(crate::testing::give_up_after(0, server.recv_from()).await.is_none());
        assert_eq!(client.recv_from().await.unwrap().0, "pong");

        let mut here = UnixDatagram::bind(UnixAddress::new("@here").unwrap()).unwrap();
        let mut there = UnixDatagram::bind(UnixAddress::new("@there").unwrap()).unwrap();
        there.send_to("ping", here.local_address().unwrap()).await.unwrap();
        let (bytes, from) = here.recv_from().await.unwrap();
        assert_eq!((bytes, &from), ("ping".into(), &there.local_address().unwrap()));
        here.connect(from).unwrap();
        here.send("pong").await.unwrap();
        assert_eq!(there.recv_from().await.unwrap().0, "pong");
    });
}

#[test]
fn one_task_receives_datagrams_while_another_sends() {
    let world = World::new(1, 1);
    world.run(0, async {
        let (mut receiver, mut sender) = UdpSocket::bind(any_port()).unwrap().into_split();
        let mut peer = UdpSocket::bind(any_port()).unwrap();
        let here = receiver.local_address().unwrap();
        let receiving = spawn(async move { receiver.recv_from().await });
        sender.send_to("ping", peer.local_address().unwrap()).await.unwrap();
        assert_eq!(peer.recv_from().await, Ok(("ping".into(), here)));
        let (_, to_here) = peer.split();
        to_here.send_to("pong", here).await.unwrap();
        assert_eq!(receiving.await.unwrap().unwrap().0, "pong");
    });
}

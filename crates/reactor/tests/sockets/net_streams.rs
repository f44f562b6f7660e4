//! Streams, datagrams and buffered forms as applications use them, on the kernel's sockets.

use std::any::Any;
use std::io::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::{ShardId, current, spawn, yield_now};
use sunstar_net::{
    BufReader, BufWriter, Error, Keepalive, ListenerOptions, Spread, Stream, TcpListener, TcpStream, UdpSocket,
    UnixAddress, UnixDatagram, UnixListener, UnixStream, allocate_buffer,
};
use sunstar_packet::Buffer;

use crate::support::{PATIENCE, on_each_driver, pattern};

pub(crate) fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// Two connected streams: the one that connected, and the one that was accepted.
async fn pair() -> (TcpStream, TcpStream) {
    let alone = ListenerOptions { spread: Spread::Off, ..ListenerOptions::default() };
    let mut listener = TcpListener::bind(any_port(), alone).await.expect("a port is free");
    let client = TcpStream::connect(listener.local_address()).await.expect("it listens");
    (client, listener.accept().await.expect("one has connected"))
}

pub(crate) async fn read_to_end(stream: &mut Stream) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    loop {
        let bytes = stream.read().await?;
        if bytes.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(&bytes);
    }
}

/// The kernel's sockets copy whatever they are given, so any buffer will do; applications need not know.
#[test]
fn buffers_for_sending_are_to_be_had_on_the_kernels_sockets_too() {
    on_each_driver(1, || async {
        let (mut client, mut server) = pair().await;
        for bytes in [0, 1, 5_000, 3 << 20] {
            let expected = pattern(0, bytes);
            for mut buffer in [client.allocate_buffer(bytes), allocate_buffer(bytes)] {
                assert!(buffer.is_empty() && buffer.tailroom() >= bytes);
                buffer.extend_from_slice(&expected).expect("there is room");
                let page = buffer.freeze();
                let reading = spawn(async move {
                    let mut came = 0;
                    while came < bytes {
                        came += server.read().await.expect("nothing fails").len();
                    }
                    server
                });
                client.write(page.clone()).await.expect("the server is there");
                server = reading.await.expect("it does not panic");
                assert!(page == expected[..], "it is still the application's");
            }
        }
    });
}

#[test]
fn lines_are_echoed_and_files_sent() {
    on_each_driver(1, || async {
        let (client, server) = pair().await;
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&pattern(0, 100_000)).expect("there is room");
        let file: Rc<dyn Any> = Rc::new(file);
        let serving = spawn(async move {
            let (reader, writer) = server.into_split();
            let (mut reader, mut writer) = (BufReader::new(reader), BufWriter::new(writer));
            while let Some(line) = reader.read_line(1000).await? {
                writer.write(&line).await?;
                writer.write(b"\n").await?;
            }
            writer.push().await?;
            writer.sink_mut().send_file(&file, 1, 99_999).await?;
            writer.sink_mut().shutdown();
            writer.flush().await
        });
        let mut client = Stream::from(client);
        client.write_buffers((0..1000).map(|n| Buffer::from(format!("line {n}\r\n").into_bytes()))).await.unwrap();
        client.shutdown();
        let mut reader = BufReader::new(client);
        for n in 0..1000 {
            assert_eq!(reader.read_line(1000).await.unwrap().unwrap(), format!("line {n}").as_bytes());
        }
        assert_eq!(reader.read_exact(99_999).await.unwrap(), pattern(1, 99_999));
        assert_eq!(reader.read().await.unwrap(), b"");
        serving.await.unwrap().unwrap();
    });
}

#[test]
fn connecting_takes_no_longer_than_it_may() {
    on_each_driver(1, || async {
        let taken = std::net::TcpListener::bind(any_port()).expect("a port is free");
        let address = taken.local_addr().expect("it is bound");
        assert!(TcpStream::connect_timeout(address, PATIENCE).await.is_ok());
        drop(taken);
        assert_eq!(TcpStream::connect(address).await.unwrap_err(), Error::ConnectionRefused);
        // A backlog of one that is full: the kernel answers no more.
        let options = ListenerOptions { backlog: 0, spread: Spread::Off, ..ListenerOptions::default() };
        let full = TcpListener::bind(any_port(), options).await.unwrap();
        let mut connected = Vec::new();
        let error = loop {
            match TcpStream::connect_timeout(full.local_address(), Duration::from_millis(200)).await {
                Ok(stream) => connected.push(stream),
                Err(error) => break error,
            }
            if connected.len() > 16 {
                // The driver accepts ahead, so the backlog does not fill.
                return;
            }
        };
        assert_eq!(error, Error::TimedOut);
    });
}

#[test]
fn tcp_has_its_options() {
    on_each_driver(1, || async {
        let (client, server) = pair().await;
        client.set_nodelay(false).unwrap();
        let (idle, interval) = (Duration::from_secs(10), Duration::from_secs(2));
        client.set_keepalive(Some(Keepalive { idle, interval, probes: 3 })).unwrap();
        client.set_keepalive(None).unwrap();
        client.set_user_timeout(Some(Duration::from_secs(5))).unwrap();
        client.set_receive_buffer_bytes(100_000).unwrap();
        client.set_send_buffer_bytes(100_000).unwrap();
        client.set_send_queue_bytes(1000).unwrap();
        assert_eq!(client.peer_address(), server.local_address());
        assert_eq!(client.local_address(), server.peer_address());
    });
}

#[test]
fn unix_streams_and_datagrams() {
    on_each_driver(1, || async {
        let folder = tempfile::tempdir().unwrap();
        let address = |name: &str| UnixAddress::new(folder.path().join(name).as_os_str().as_encoded_bytes()).unwrap();
        let mut listener = UnixListener::bind(address("stream"), ListenerOptions::default()).await.unwrap();
        let mut client = UnixStream::connect(address("stream")).await.unwrap();
        let mut server = listener.accept().await.unwrap();
        client.write("hello").await.unwrap();
        assert_eq!(server.read().await.unwrap(), "hello");

        let mut one = UnixDatagram::bind(address("one")).unwrap();
        let mut other = UnixDatagram::bind(address("other")).unwrap();
        one.send_to("ping", address("other")).await.unwrap();
        let (bytes, from) = other.recv_from().await.unwrap();
        assert_eq!((bytes, &from), ("ping".into(), &address("one")));
        other.connect(from).unwrap();
        other.send("pong").await.unwrap();
        assert_eq!(one.recv_from().await.unwrap().0, "pong");
    });
}

#[test]
fn udp_both_ways() {
    on_each_driver(1, || async {
        let (mut server, mut client) = (UdpSocket::bind(any_port()).unwrap(), UdpSocket::bind(any_port()).unwrap());
        client.connect(server.local_address().unwrap()).unwrap();
        client.send("ping").await.unwrap();
        let (bytes, from) = server.recv_from().await.unwrap();
        assert_eq!((bytes, from), ("ping".into(), client.local_address().unwrap()));
        server.send_to("pong", from).await.unwrap();
        assert_eq!(client.recv_from().await.unwrap().0, "pong");
    });
}

#[test]
fn one_task_receives_datagrams_while_another_sends() {
    on_each_driver(1, || async {
        let (mut receiver, mut sender) = UdpSocket::bind(any_port()).unwrap().into_split();
        let mut peer = UdpSocket::bind(any_port()).unwrap();
        let here = receiver.local_address().unwrap();
        let receiving = spawn(async move { receiver.recv_from().await });
        yield_now().await;
        sender.send_to("ping", peer.local_address().unwrap()).await.unwrap();
        assert_eq!(peer.recv_from().await, Ok(("ping".into(), here)));
        peer.send_to("pong", here).await.unwrap();
        assert_eq!(receiving.await.unwrap().unwrap().0, "pong");
    });
}

#[test]
fn a_live_stream_moves_with_its_unread_bytes() {
    on_each_driver(2, || async {
        for _ in 0..20 {
            let (client, mut server) = pair().await;
            let mut client = Stream::from(client);
            client.write("read here, unread, ").await.unwrap();
            client.flush().await.unwrap();
            let first = server.read().await.unwrap().slice(..10).to_vec();
            client.write("and after").await.unwrap();
            client.flush().await.unwrap();
            // Some of it may have arrived already, some not.
            yield_now().await;
            let to = ShardId::new(1);
            server
                .hand_over(to, move |mut stream| async move {
                    assert_eq!(current::shard_id(), to);
                    let mut all = first;
                    all.extend(read_to_end(&mut stream).await.unwrap());
                    stream.write(all).await.unwrap();
                })
                .await
                .unwrap();
            assert_eq!(server.read().await, Err(Error::NotConnected));
            client.shutdown();
            let echo = with_timeout(PATIENCE, read_to_end(&mut client)).await.unwrap().unwrap();
            assert!(echo.starts_with(b"read here,") && echo.ends_with(b"and after"), "{}", echo.escape_ascii());
        }
    });
}

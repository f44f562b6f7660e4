//! Streams that are open.

use std::time::Duration;

use sunstar_device::{FaultOptions, LinkOptions, Offloads};
use sunstar_executor::combine::with_timeout;
use sunstar_executor::timer::sleep;
use sunstar_executor::{ShardId, spawn};
use sunstar_net::socket::{ConnectOptions, Keepalive, StreamOption};
use sunstar_net::{Address, Error, UnixAddress};
use sunstar_packet::Buffer;

use crate::support::*;

#[test]
fn bytes_go_both_ways_and_each_direction_ends_alone() {
    let serve = || async {
        let listener = listen(80);
        let stream = accept(&listener).await;
        assert_eq!(stream.local_address(), Ok(server(80)));
        assert_eq!(read_all(&stream).await, Ok(b"question".to_vec()));
        write(&stream, "answer").await.unwrap();
        stream.shutdown();
        assert_eq!(write(&stream, "more").await, Err(Error::BrokenPipe));
        flush(&stream).await.unwrap();
    };
    pair(serve, || async {
        let stream = connect(&server(80)).await.unwrap();
        assert_eq!(stream.peer_address(), Ok(server(80)));
        write(&stream, "question").await.unwrap();
        stream.shutdown();
        assert_eq!(read_all(&stream).await, Ok(b"answer".to_vec()));
        assert_eq!(read(&stream).await, Ok(Buffer::new()), "the end stays");
    });
}

#[test]
fn who_does_not_listen_refuses_and_who_is_not_there_is_unreachable() {
    pair(
        || async { sleep(Duration::from_secs(10)).await },
        || async {
            assert_eq!(connect(&server(81)).await.err(), Some(Error::ConnectionRefused));
            let nobody = std::net::SocketAddr::from(([10, 0, 0, 77], 80)).into();
            assert_eq!(connect(&nobody).await.err(), Some(Error::HostUnreachable));
            let elsewhere = std::net::SocketAddr::from(([192, 0, 2, 1], 80)).into();
            assert_eq!(connect(&elsewhere).await.err(), Some(Error::NetworkUnreachable));
            let abroad = ConnectOptions { from: Some(server(0)) };
            assert_eq!(network().connect(&server(80), &abroad).await.err(), Some(Error::AddressNotAvailable));
            let unix: Address = UnixAddress::new("/socket").unwrap().into();
            assert_eq!(connect(&unix).await.err(), Some(Error::Unsupported));
        },
    );
}

#[test]
fn segments_are_as_large_as_the_link_takes() {
    let wire = Wire { link: LinkOptions { mtu_bytes: 9_000, ..LinkOptions::default() }, ..Wire::default() };
    let serve = || async {
        let stream = accept(&listen(80)).await;
        assert_eq!(read(&stream).await.map(|bytes| bytes.len()), Ok(8_000), "in one piece");
        assert_eq!(read_all(&stream).await, Ok(Vec::new()));
    };
    pair_over(&wire, serve, || async {
        let stream = connect(&server(80)).await.unwrap();
        write(&stream, vec![7; 8_000]).await.unwrap();
        stream.shutdown();
        flush(&stream).await.unwrap();
    });
}

/// Sends a megabyte each way, at the same time.
fn exchange_over(wire: &Wire) {
    const BYTES: usize = 1 << 20;
    async fn talk(stream: Stream) {
        let writer = std::rc::Rc::clone(&stream);
        let writing = spawn(async move {
            for offset in (0..BYTES).step_by(1 << 14) {
                write(&writer, pattern(offset, 1 << 14)).await.expect("the stream lives");
            }
            writer.shutdown();
        });
        assert!(read_all(&stream).await.expect("the stream lives") == pattern(0, BYTES));
        writing.await.expect("the stream lives");
    }
    let serve = || async {
        let listener = listen(80);
        talk(accept(&listener).await).await;
        // What the other side has sent twice is still answered.
        sleep(Duration::from_secs(2)).await;
    };
    pair_over(wire, serve, || async {
        talk(connect(&server(80)).await.expect("the stream lives")).await;
        sleep(Duration::from_secs(2)).await;
    });
}

#[test]
fn bulk_goes_both_ways_over_links_of_any_kind() {
    for mtu_bytes in [576, 1_500, 9_000] {
        for offloads in [Offloads::NONE, Offloads { vlan: false, ..Offloads::ALL }] {
            exchange_over(&Wire {
                link: LinkOptions { mtu_bytes, offloads, ..LinkOptions::default() },
                ..Wire::default()
            });
        }
    }
}

#[test]
fn bulk_goes_both_ways_over_a_link_with_few_places() {
    exchange_over(&Wire { link: LinkOptions { ring_packets: 2, ..LinkOptions::default() }, ..Wire::default() });
}

#[test]
fn bulk_goes_both_ways_over_a_bad_link() {
    for faults in ["drop=0.02,delay=5ms", "duplicate=0.1,reorder=0.1,delay=1ms", "corrupt=0.02,delay=1ms"] {
        let faults: FaultOptions = faults.parse().unwrap();
        exchange_over(&Wire { faults, ..Wire::default() });
    }
}

#[test]
fn writers_wait_for_readers_and_the_window_opens_again() {
    const BYTES: usize = 4 << 20;
    let serve = || async {
        let listener = listen(80);
        let stream = accept(&listener).await;
        sleep(Duration::from_secs(30)).await;
        assert!(read_all(&stream).await.unwrap() == pattern(0, BYTES));
    };
    pair(serve, || async {
        let stream = connect(&server(80)).await.unwrap();
        // By themselves buffers grow with the path.
        stream.set_option(StreamOption::SendBufferBytes(128 << 10)).unwrap();
        for offset in (0..BYTES).step_by(1 << 16) {
            write(&stream, pattern(offset, 1 << 16)).await.unwrap();
            assert!(stream.unacknowledged_bytes() <= (128 + 256 + 64) << 10, "what is kept is bounded");
        }
        stream.shutdown();
        flush(&stream).await.unwrap();
    });
}

#[test]
fn a_dropped_read_loses_nothing_and_a_dropped_connect_leaves_nothing() {
    let serve = || async {
        let listener = listen(80);
        let stream = accept(&listener).await;
        let dropped = std::pin::pin!(read(&stream));
        with_timeout(Duration::from_millis(1), dropped).await.unwrap_err();
        write(&stream, "now").await.unwrap();
        assert_eq!(read_all(&stream).await, Ok(b"bytes".to_vec()));
    };
    pair(serve, || async {
        drop(network().connect(&server(80), &ConnectOptions::default()));
        let stream = connect(&server(80)).await.unwrap();
        assert_eq!(read_bytes(&stream, 3).await, Ok(b"now".to_vec()));
        write(&stream, "bytes").await.unwrap();
    });
}

#[test]
fn a_stream_is_detached_with_what_it_has_not_read_and_attached_again() {
    let serve = || async {
        let listener = listen(80);
        let stream = accept(&listener).await;
        sleep(Duration::from_millis(50)).await;
        write(&stream, "first").await.unwrap();
        let detached = detach(&stream).await.unwrap();
        assert_eq!(read(&stream).await, Err(Error::NotConnected));
        assert_eq!(writable(&stream).await, Err(Error::NotConnected));
        assert!(detached.peer().is_some());
        let again = attach(detached);
        assert_eq!(read_bytes(&again, 6).await, Ok(b"unread!".to_vec()));
        write(&again, "second").await.unwrap();
    };
    pair(serve, || async {
        let stream = connect(&server(80)).await.unwrap();
        write(&stream, "unread!").await.unwrap();
        assert_eq!(read_all(&stream).await, Ok(b"firstsecond".to_vec()));
    });
}

#[test]
fn options_are_taken_and_files_are_not() {
    let serve = || async {
        let listener = listen(80);
        let stream = accept(&listener).await;
        assert_eq!(read_all(&stream).await, Ok(b"x".to_vec()));
    };
    pair(serve, || async {
        let stream = connect(&server(80)).await.unwrap();
        let keepalive = Keepalive { idle: Duration::from_secs(1), interval: Duration::from_secs(1), probes: 3 };
        for option in [
            StreamOption::NoDelay(false),
            StreamOption::Keepalive(Some(keepalive)),
            StreamOption::UserTimeout(Some(Duration::from_secs(5))),
            StreamOption::ReceiveBufferBytes(1 << 16),
            StreamOption::SendBufferBytes(1 << 16),
            StreamOption::SendQueueBytes(1 << 16),
        ] {
            assert_eq!(stream.set_option(option), Ok(()));
        }
        let file: std::rc::Rc<dyn std::any::Any> = std::rc::Rc::new(());
        assert_eq!(stream.enqueue_file(&file, 0, 0), Err(Error::Unsupported));
        write(&stream, "x").await.unwrap();
        assert_eq!(ShardId::new(0), sunstar_executor::current::shard_id());
    });
}

/// Where all connections together hold as much as they may, whoever has more than little under way waits, though his own buffer has room;
/// and goes on when others have taken what is theirs.
#[test]
fn senders_wait_where_memory_is_short() {
    let mut wire = Wire::default();
    wire.options.limits.tcp.send_bytes = 300_000;
    let serve = || async {
        let listener = listen(80);
        let (hoarder, other) = (accept(&listener).await, accept(&listener).await);
        sleep(Duration::from_secs(30)).await;
        let reading = spawn(async move { read_all(&hoarder).await });
        assert!(read_all(&other).await.is_ok());
        assert_eq!(reading.await.unwrap().map(|bytes| bytes.len()), Ok(1_000_000));
    };
    pair_over(&wire, serve, || async {
        let hoarder = connect(&server(80)).await.unwrap();
        let other = connect(&server(80)).await.unwrap();
        while other.unacknowledged_bytes() < 17_000 {
            write(&other, vec![7; 4_000]).await.unwrap();
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(with_timeout(Duration::ZERO, writable(&other)).await, Ok(Ok(())), "it has room");
        hoarder.enqueue(vec![7; 1_000_000].into());
        sleep(Duration::from_secs(1)).await;
        assert!(with_timeout(Duration::from_secs(10), writable(&other)).await.is_err(), "there is no memory");
        let (network, _) = native();
        assert!(network.with_stack(|stack| stack.tcp().counters()).senders_held_back > 0);
        writable(&other).await.unwrap();
        assert!(network.levels().tcp.send_bytes < 1_000_000, "they have read");
        [&hoarder, &other].into_iter().for_each(|stream| stream.shutdown());
        flush(&hoarder).await.unwrap();
        flush(&other).await.unwrap();
    });
}

//! What streams do once they are connected.

use std::future::poll_fn;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::task::Poll;

use sunstar_executor::combine::{when_all, with_timeout};
use sunstar_executor::message::ShardId;
use sunstar_executor::{spawn, submit_to, yield_now};
use sunstar_net::socket::StreamOption;
use sunstar_net::{Address, Error};
use sunstar_packet::Buffer;
use sunstar_reactor::io_stats;

use crate::support::*;

#[test]
fn bytes_go_both_ways_at_every_kind_of_address() {
    on_each_driver(1, || async {
        let folder = tempfile::tempdir().expect("a folder");
        for address in addresses(&folder) {
            let (listener, address) = listen(&address);
            let client = connect(&address).await.expect("it listens");
            let accepted = accept(&listener).await.expect("one has connected");
            let server = attach(accepted);
            let peer = server.peer_address().expect("the kernel tells it");
            assert_eq!(client.peer_address(), Ok(address.clone()));
            assert_eq!(server.local_address(), Ok(address));
            assert_eq!(server.peer_address(), Ok(peer.clone()));
            assert_eq!(client.local_address(), Ok(peer));
            write(&client, "to the server").await.expect("it is connected");
            assert_eq!(read(&server).await, Ok(Buffer::from("to the server")));
            write(&server, "to the client").await.expect("it is connected");
            assert_eq!(read(&client).await, Ok(Buffer::from("to the client")));
        }
    });
}

#[test]
fn one_side_may_end_while_the_other_goes_on() {
    on_each_driver(1, || async {
        let folder = tempfile::tempdir().expect("a folder");
        for address in addresses(&folder) {
            let (client, server) = pair_at(&address).await;
            write(&client, "question").await.expect("it is connected");
            client.shutdown();
            flush(&client).await.expect("the kernel takes the end");
            assert_eq!(writable(&client).await, Err(Error::BrokenPipe));
            assert_eq!(read_to_end(&server).await, Ok(b"question".to_vec()));
            assert_eq!(read(&server).await, Ok(Buffer::new()), "the end repeats");
            write(&server, "answer").await.expect("this side is open");
            assert_eq!(read(&client).await, Ok(Buffer::from("answer")));
            drop(server);
            assert_eq!(read(&client).await, Ok(Buffer::new()));
        }
    });
}

#[test]
fn an_abort_is_a_reset_that_comes_after_the_bytes() {
    on_each_driver(1, || async {
        let (client, server) = pair().await;
        write(&client, "last words").await.expect("it is connected");
        flush(&client).await.expect("the kernel takes them");
        client.abort();
        assert_eq!(read(&client).await, Err(Error::ConnectionAborted));
        assert_eq!(writable(&client).await, Err(Error::ConnectionAborted));
        assert_eq!(read(&server).await, Ok(Buffer::from("last words")));
        assert_eq!(read(&server).await, Err(Error::ConnectionReset));
        assert_eq!(read(&server).await, Err(Error::ConnectionReset));
        assert_eq!(writable(&server).await, Err(Error::ConnectionReset));
        assert_eq!(flush(&server).await, Err(Error::ConnectionReset));
    });
}

#[test]
fn a_reset_that_sending_meets_first_is_no_orderly_end_to_the_reader() {
    on_each_driver(1, || async {
        let (client, server) = pair().await;
        client.abort();
        write(&server, "into the void").await.expect("nothing is known yet");
        let error = flush(&server).await.err();
        assert!(matches!(error, None | Some(Error::ConnectionReset | Error::BrokenPipe)), "{error:?}");
        assert_eq!(read(&server).await, Err(Error::ConnectionReset));
    });
}

/// Sends so many bytes in writes of different lengths, and ends the stream.
async fn send_pattern(stream: &Stream, count: usize) {
    let (mut sent, mut len) = (0, 1);
    while sent < count {
        let bytes = pattern(sent, len.min(count - sent));
        sent += bytes.len();
        len = (len * 7 + 13) % 70_000 + 1;
        write(stream, bytes).await.expect("it is connected");
    }
    stream.shutdown();
    flush(stream).await.expect("the peer reads");
}

#[test]
fn many_bytes_arrive_once_and_in_order_in_both_directions() {
    on_each_driver(1, || async {
        const COUNT: usize = 8 << 20;
        let folder = tempfile::tempdir().expect("a folder");
        for address in addresses(&folder) {
            let before = io_stats();
            let (client, server) = pair_at(&address).await;
            let (_, _, one, other) = when_all((
                send_pattern(&client, COUNT),
                send_pattern(&server, COUNT),
                read_to_end(&client),
                read_to_end(&server),
            ))
            .await;
            assert!(one.expect("no error") == pattern(0, COUNT) && other.expect("no error") == pattern(0, COUNT));
            let now = io_stats();
            assert_eq!(now.received_bytes - before.received_bytes, 2 * COUNT as u64);
            assert_eq!(now.sent_bytes - before.sent_bytes, 2 * COUNT as u64);
        }
    });
}

#[test]
fn readers_who_hold_all_they_got_do_not_stop_others() {
    on_each_driver(1, || async {
        const CHUNKS: usize = 512;
        let (client, server) = pair().await;
        let sender = spawn(async move {
            let chunk = Buffer::from(vec![7; 64 << 10]);
            for _ in 0..CHUNKS {
                write(&client, chunk.clone()).await.expect("it is connected");
            }
        });
        let mut held = Vec::new();
        loop {
            let bytes = read(&server).await.expect("no error");
            if bytes.is_empty() {
                break;
            }
            held.push(bytes);
        }
        sender.await.expect("no panic");
        assert_eq!(held.iter().map(|bytes| bytes.len()).sum::<usize>(), CHUNKS << 16);
        let stats = io_stats();
        assert!(stats.copied_out_bytes > 0 && stats.short_frames > 0, "{stats:?}");
        assert!(stats.lent_frames >= 256 && stats.lent_frames <= stats.frames, "{stats:?}");
        drop(held);
        assert_eq!(io_stats().lent_frames, 0);
        let (client, server) = pair().await;
        write(&client, "hello").await.expect("it is connected");
        assert_eq!(read(&server).await, Ok(Buffer::from("hello")));
    });
}

#[test]
fn a_peer_that_never_reads_stops_its_writer_only() {
    on_each_driver(1, || async {
        let (client, server) = pair().await;
        server.set_option(StreamOption::SendQueueBytes(100_000)).expect("all have it");
        let chunk = Buffer::from(vec![7; 50_000]);
        let mut count = 0_u64;
        // Until the kernel's buffers and the queue are full, which they are when nothing moves any more.
        while with_timeout(std::time::Duration::from_millis(200), writable(&server)).await.is_ok() {
            server.enqueue(chunk.clone());
            count += chunk.len() as u64;
        }
        let (other_client, other_server) = pair().await;
        write(&other_client, "hello").await.expect("it is connected");
        assert_eq!(read(&other_server).await, Ok(Buffer::from("hello")));
        server.shutdown();
        let read = with_timeout(PATIENCE, read_to_end(&client)).await.expect("it moves on").expect("no error");
        assert_eq!(read.len() as u64, count);
    });
}

#[test]
fn a_writer_whose_peer_goes_learns_of_it() {
    on_each_driver(1, || async {
        let (client, server) = pair().await;
        let writer = spawn(async move {
            loop {
                if let Err(error) = write(&server, vec![7; 50_000]).await {
                    return error;
                }
            }
        });
        read(&client).await.expect("it is sent something");
        client.abort();
        let error = with_timeout(PATIENCE, writer).await.expect("it is told").expect("no panic");
        assert!(matches!(error, Error::ConnectionReset | Error::BrokenPipe), "{error}");
    });
}

#[test]
fn what_is_queued_is_sent_after_the_stream_was_dropped() {
    on_each_driver(1, || async {
        const COUNT: usize = 8 << 20;
        let (client, server) = pair().await;
        client.set_option(StreamOption::SendQueueBytes(COUNT)).expect("all have it");
        write(&client, pattern(0, COUNT)).await.expect("it is connected");
        drop(client);
        assert!(read_to_end(&server).await.expect("no error") == pattern(0, COUNT));
    });
}

#[test]
fn what_is_queued_is_sent_when_the_shard_ends() {
    for backend in backends() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            listener.accept().expect("one connects").0.read_to_end(&mut all).map(|_| all)
        });
        let test = move || async move {
            let stream = connect(&address.into()).await.expect("it listens");
            write(&stream, pattern(0, 2_000_000)).await.expect("it is connected");
        };
        on_driver(backend, 1, test);
        assert!(reader.join().expect("no panic").expect("no error") == pattern(0, 2_000_000));
    }
}

#[test]
fn the_last_bytes_of_a_closed_stream_leave_in_one_segment_with_its_end() {
    for backend in backends() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let test = move || async move {
            let stream = connect(&address.into()).await.expect("it listens");
            write(&stream, "all that there is").await.expect("it is connected");
        };
        on_driver(backend, 1, test);
        let (mut reader, _) = listener.accept().expect("one has connected");
        let mut all = String::new();
        reader.read_to_string(&mut all).expect("no error");
        assert_eq!(all, "all that there is");
        assert_eq!(received_segments(&reader), 3, "two to connect, and one");
    }
}

/// How many segments a connection has received (`tcpi_segs_in` of `TCP_INFO`).
fn received_segments(stream: &std::net::TcpStream) -> u32 {
    const SEGMENTS_IN: usize = 140;
    let mut info = [0_u8; 256];
    let mut len = libc::socklen_t::try_from(info.len()).expect("it is small");
    // SAFETY: the kernel writes at most `len` bytes.
    let answer = unsafe {
        libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut len)
    };
    assert_eq!(answer, 0);
    let bytes = info[SEGMENTS_IN..SEGMENTS_IN + 4].try_into().expect("four bytes");
    u32::from_ne_bytes(bytes)
}

#[test]
fn a_peer_that_never_reads_does_not_keep_the_shard_from_ending() {
    for backend in backends() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let test = move || async move {
            let stream = connect(&address.into()).await.expect("it listens");
            write(&stream, vec![0; 64 << 20]).await.expect("it is connected");
        };
        on_driver(backend, 1, test);
        let read = listener.accept().expect("one has connected").0.read_to_end(&mut Vec::new());
        assert_eq!(read.expect_err("not all has come").kind(), std::io::ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_stream_goes_to_another_shard_with_what_it_has_not_read() {
    on_each_driver(2, || async {
        let folder = tempfile::tempdir().expect("a folder");
        for address in addresses(&folder) {
            let (client, server) = pair_at(&address).await;
            write(&client, "one,").await.expect("it is connected");
            assert_eq!(read(&server).await, Ok(Buffer::from("one,")));
            write(&client, "two,").await.expect("it is connected");
            flush(&client).await.expect("the kernel takes it");
            write(&server, "from the first shard,").await.expect("it is connected");
            let detached = detach(&server).await.expect("it is connected");
            assert_eq!(read(&server).await, Err(Error::NotConnected));
            assert_eq!(writable(&server).await, Err(Error::NotConnected));
            drop(server);
            let second = submit_to(ShardId::new(1), move || async move {
                let server = attach(detached);
                let bytes = read_bytes(&server, 10).await.expect("no error");
                write(&server, "from the second").await.expect("it is connected");
                // Unread bytes go along however often it moves.
                let detached = detach(&server).await.expect("it is connected");
                (bytes, detached)
            });
            let reader = async {
                write(&client, "three,").await.expect("it is connected");
                read_bytes(&client, 36).await.expect("no error")
            };
            let (answer, read_here) = when_all((second, reader)).await;
            let (bytes, detached) = answer.expect("no panic");
            assert_eq!(
                (bytes.as_slice(), read_here.as_slice()),
                (&b"two,three,"[..], &b"from the first shard,from the second"[..])
            );
            let server = attach(detached);
            write(&client, "four").await.expect("it is connected");
            assert_eq!(read(&server).await, Ok(Buffer::from("four")));
        }
    });
}

#[test]
fn unread_bytes_of_a_stream_that_moves_come_first() {
    on_each_driver(2, || async {
        let (client, server) = pair().await;
        write(&client, pattern(0, 100_000)).await.expect("it is connected");
        client.shutdown();
        flush(&client).await.expect("the kernel takes it");
        let mut count = read(&server).await.expect("no error").len();
        let mut here = server;
        for shard in [1, 0, 1] {
            let detached = detach(&here).await.expect("it is connected");
            let (read_there, back) = submit_to(ShardId::new(shard), move || async move {
                let there = attach(detached);
                let bytes = read(&there).await.expect("no error").to_vec();
                (bytes, detach(&there).await.expect("it is connected"))
            })
            .await
            .expect("no panic");
            assert!(read_there == pattern(count, read_there.len()));
            count += read_there.len();
            here = attach(back);
        }
        let rest = read_to_end(&here).await.expect("no error");
        assert!(rest == pattern(count, 100_000 - count));
    });
}

#[test]
fn a_stream_that_ends_or_has_failed_does_not_move() {
    on_each_driver(1, || async {
        let (client, server) = pair().await;
        client.shutdown();
        assert_eq!(detach(&client).await.err(), Some(Error::BrokenPipe));
        client.abort();
        assert_eq!(read(&server).await.err().or(read(&server).await.err()), Some(Error::ConnectionReset));
        assert_eq!(detach(&server).await.err(), Some(Error::ConnectionReset));
    });
}

#[test]
fn a_wait_that_is_dropped_loses_nothing() {
    on_each_driver(1, || async {
        let (client, server) = pair().await;
        for round in 0..100_u8 {
            {
                let mut abandoned = pin!(read(&server));
                let first = poll_fn(|cx| Poll::Ready(abandoned.as_mut().poll(cx))).await;
                assert!(first.is_pending());
            }
            write(&client, vec![round]).await.expect("it is connected");
            for _ in 0..round % 4 {
                yield_now().await;
            }
            assert_eq!(read(&server).await, Ok(Buffer::from(vec![round])));
        }
    });
}

#[test]
fn options_are_set_or_refused() {
    on_each_driver(1, || async {
        let (client, _server) = pair().await;
        client.set_option(StreamOption::NoDelay(false)).expect("TCP has it");
        client.set_option(StreamOption::Keepalive(None)).expect("TCP has it");
        let folder = tempfile::tempdir().expect("a folder");
        let [.., unix] = addresses(&folder);
        let (client, _server) = pair_at(&unix).await;
        assert_eq!(client.set_option(StreamOption::NoDelay(true)), Err(Error::Unsupported));
        assert!(matches!(client.peer_address(), Ok(Address::Unix(_))));
    });
}

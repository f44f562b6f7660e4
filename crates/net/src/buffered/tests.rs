//! Reading and writing in pieces, over streams of a network that splits them anywhere.

use core::task::{Context, Poll};

use sunstar_packet::Buffer;

use super::*;
use crate::error::Error;
use crate::stream::tests::pair;
use crate::stream::{OwnedReadHalf, Read, Stream};
use crate::testing::World;

/// A reader of what is sent, in exactly these pieces, and then the end.
fn pieces(world: &World, pieces: &[&'static str]) -> BufReader<Stream> {
    let (stream, peer) = pair(world);
    world.run(0, async move { drop(peer) });
    let mut reader = BufReader::new(stream);
    for piece in pieces.iter().rev() {
        reader.unread((*piece).into());
    }
    reader
}

#[test]
fn lines_come_in_whatever_pieces_they_were_sent() {
    for seed in 0..50 {
        let world = World::new(seed, 1);
        let (stream, mut peer) = pair(&world);
        world.run(0, async move {
            peer.write("one\r\ntwo\n\n").await.unwrap();
            peer.write("four").await.unwrap();
        });
        world.run(0, async move {
            let mut reader = BufReader::new(stream);
            for line in ["one", "two", ""] {
                assert_eq!(reader.read_line(10).await.unwrap().unwrap(), line);
            }
            assert_eq!(reader.read_line(10).await, Err(Error::UnexpectedEnd));
            assert_eq!(reader.read_exact(4).await.unwrap(), "four");
            assert_eq!(reader.read_line(10).await, Ok(None));
            assert_eq!(reader.read().await.unwrap(), "");
        });
    }
}

#[test]
fn only_what_is_spread_is_copied() {
    let world = World::new(1, 1);
    let mut reader = pieces(&world, &["GET / HT", "TP/1.1\r\nHost", ": a\r\n"]);
    world.run(0, async move {
        assert_eq!(reader.read_exact(4).await.unwrap(), "GET ");
        assert_eq!(reader.read_exact(4).await.unwrap(), "/ HT");
        assert_eq!(reader.copies().copies(), 0);
        assert_eq!(reader.peek(3).await.unwrap(), b"TP/");
        assert_eq!(reader.read_line(100).await.unwrap().unwrap(), "TP/1.1");
        assert_eq!(reader.copies().copies(), 0);
        assert_eq!(reader.read_line(100).await.unwrap().unwrap(), "Host: a");
        assert_eq!((reader.copies().copies(), reader.copies().bytes()), (1, 9));
    });
}

#[test]
fn a_look_ahead_takes_nothing() {
    let world = World::new(1, 1);
    let mut reader = pieces(&world, &["ab", "cd", "ef"]);
    world.run(0, async move {
        assert_eq!(reader.peek(3).await.unwrap(), b"abc");
        assert_eq!(reader.peek(3).await.unwrap(), b"abc");
        assert_eq!(reader.copies().copies(), 1, "it is in one piece from then on");
        assert_eq!(reader.peek(100).await.unwrap(), b"abcdef");
        assert!(reader.is_at_end());
        assert_eq!(reader.buffered_bytes(), 6);
        reader.consume(5);
        assert_eq!(reader.chunk(), b"f");
        assert_eq!(reader.read_exact(2).await, Err(Error::UnexpectedEnd));
        assert_eq!(reader.read_exact(0).await.unwrap(), "");
        let (_, mut rest) = reader.into_parts();
        assert_eq!(rest.next().unwrap(), "f");
    });
}

/// A source that yields so many single bytes, and then the end of the line.
struct Trickle(u32);

impl Read for Trickle {
    fn poll_read(&mut self, _: &mut Context<'_>) -> Poll<Result<Buffer, Error>> {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or_default();
        Poll::Ready(Ok(if left.is_some() { "x" } else { "\n" }.into()))
    }
}

/// If each piece made it look at all pieces before, this would take as long as a test is allowed to.
#[test]
fn a_long_line_in_single_bytes_is_looked_at_once() {
    const LEN: u32 = 300_000;
    let world = World::new(1, 1);
    world.run(0, async {
        let line = BufReader::new(Trickle(LEN)).read_line(1 << 20).await.unwrap().unwrap();
        assert_eq!(line.len(), LEN as usize);
    });
}

#[test]
fn limits_hold_to_the_byte() {
    let world = World::new(1, 1);
    let mut reader = pieces(&world, &["12", "3\n", "123", "4\n"]);
    world.run(0, async move {
        assert_eq!(reader.read_line(3).await, Err(Error::LimitExceeded));
        assert_eq!(reader.read_line(4).await.unwrap().unwrap(), "123");
        assert_eq!(reader.read_line(4).await, Err(Error::LimitExceeded));
        assert_eq!(reader.read_until(b'4', 4).await.unwrap().unwrap(), "1234");
        assert_eq!(reader.read_until(b'\n', 0).await, Err(Error::LimitExceeded));
        assert_eq!(reader.read_until(b'\n', 1).await.unwrap().unwrap(), "\n");
    });
}

/// All that comes until the end.
async fn all(mut reader: OwnedReadHalf) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let piece = reader.read().await.unwrap();
        if piece.is_empty() {
            return bytes;
        }
        bytes.extend_from_slice(&piece);
    }
}

#[test]
fn small_writes_leave_together_and_large_buffers_as_they_are() {
    let world = World::new(1, 1);
    let (stream, peer) = pair(&world);
    let reader = world.spawn(0, all(peer.into_split().0));
    let large = Buffer::from(vec![b'x'; 5]);
    let sent = large.clone();
    world.run(0, async move {
        let mut writer = BufWriter::with_capacity(8, stream);
        writer.write(b"abc").await.unwrap();
        writer.write(b"defgh").await.unwrap();
        assert_eq!(writer.buffered_bytes(), 8);
        writer.write(b"i").await.unwrap();
        assert_eq!(writer.buffered_bytes(), 1);
        writer.write_buffer(sent).await.unwrap();
        assert_eq!(writer.buffered_bytes(), 0);
        writer.write_buffer("12").await.unwrap();
        assert_eq!(writer.buffered_bytes(), 2, "small buffers are collected");
        writer.write(b"longer than all of it").await.unwrap();
        writer.write(b"!").await.unwrap();
        writer.flush().await.unwrap();
    });
    assert_eq!(world.output(0, reader), b"abcdefghixxxxx12longer than all of it!");
    assert!(large.is_unique());
}

#[test]
fn the_writers_memory_is_used_again() {
    let world = World::new(1, 1);
    let (stream, _peer) = pair(&world);
    world.run(0, async move {
        let mut writer = BufWriter::with_capacity(8, stream);
        let mut seen = Vec::new();
        for _ in 0..3 {
            writer.write(b"abcd").await.unwrap();
            seen.push(writer.collected_at());
            writer.flush().await.unwrap();
        }
        assert!(seen.iter().all(|at| *at == seen[0]));
    });
}

//! Values that don't come in one buffer: what they take while they come, and who gives way.

use sunstar_packet::Buffer;

use crate::input::PIECE_BYTES;
use crate::{Endpoint, Limits, Refusal, Request, ServerConnection};

fn endpoint(pending_value_bytes: usize) -> Endpoint {
    Endpoint::new(Limits { pending_value_bytes, ..Limits::DEFAULT })
}

fn send(connection: &mut ServerConnection, bytes: impl AsRef<[u8]>) -> Vec<Request> {
    connection.handle_input(Buffer::copy_from_slice(bytes.as_ref())).unwrap();
    core::iter::from_fn(|| connection.poll_request()).collect()
}

/// Begins a value of 500,000 bytes.
fn begin(endpoint: &Endpoint, key: &str) -> ServerConnection {
    let mut connection = endpoint.accept();
    assert!(send(&mut connection, format!("set {key} 0 0 500000\r\nx")).is_empty());
    connection
}

fn is_refused(requests: &[Request], name: &[u8]) -> bool {
    matches!(requests, [Request::Refused { refusal: Refusal::NoMemory, stale: Some(key), .. }] if *key == *name)
}

#[test]
fn memory_is_taken_as_bytes_come() {
    let endpoint = endpoint(1 << 20);
    let mut connection = begin(&endpoint, "a");
    assert_eq!(endpoint.pending_value_bytes(), PIECE_BYTES);
    assert!(send(&mut connection, [b'x'; PIECE_BYTES - 1]).is_empty());
    assert_eq!(endpoint.pending_value_bytes(), PIECE_BYTES, "no more has come");
    assert!(send(&mut connection, b"x").is_empty());
    assert_eq!(endpoint.pending_value_bytes(), 2 * PIECE_BYTES);
    let stored = send(&mut connection, [&[b'x'; 500_000 - PIECE_BYTES - 1][..], b"\r\n"].concat());
    let [Request::Store(_, value)] = &stored[..] else { panic!("{stored:?}") };
    assert!(value.len() == 500_000 && value.is_owned() && value.pieces().len() == 8);
    assert_eq!(endpoint.pending_value_bytes(), 0);
}

/// They announce much and send nothing, and others store what they like.
#[test]
fn who_announces_much_holds_little() {
    let endpoint = endpoint(1 << 20);
    let silent: Vec<_> = (0..8).map(|number| begin(&endpoint, &format!("{number}"))).collect();
    let mut busy = begin(&endpoint, "busy");
    let stored = send(&mut busy, [&[b'x'; 499_999][..], b"\r\n"].concat());
    assert!(matches!(&stored[..], [Request::Store(..)]), "{stored:?}");
    assert_eq!(endpoint.counters().values_refused, 0);
    drop(silent);
    assert_eq!(endpoint.pending_value_bytes(), 0);
}

#[test]
fn what_finds_no_memory_is_skipped_from_there_on() {
    let endpoint = endpoint(3 * PIECE_BYTES);
    let mut first = begin(&endpoint, "a");
    let mut second = begin(&endpoint, "b");
    assert!(send(&mut first, [b'x'; PIECE_BYTES]).is_empty());
    let refused = send(&mut second, [b'x'; PIECE_BYTES]);
    assert!(is_refused(&refused, b"b"), "{refused:?}");
    assert_eq!((endpoint.counters().values_refused, endpoint.pending_value_bytes()), (1, 2 * PIECE_BYTES));
    let rest = [&[b'x'; 500_000 - PIECE_BYTES - 1][..], b"\r\nversion\r\n"].concat();
    assert!(matches!(&send(&mut second, rest)[..], [Request::Version]));
    // At the beginning too.
    let mut third = begin(&endpoint, "c");
    let mut fourth = endpoint.accept();
    let refused = send(&mut fourth, "set d 0 0 500000\r\nx");
    assert!(is_refused(&refused, b"d"), "{refused:?}");
    assert!(matches!(&send(&mut third, "x")[..], []));
    drop((first, third));
    assert_eq!(endpoint.pending_value_bytes(), 0);
}

#[test]
fn short_values_are_put_together_whatever_others_have() {
    let endpoint = endpoint(PIECE_BYTES);
    let _first = begin(&endpoint, "a");
    let mut second = endpoint.accept();
    assert!(send(&mut second, "set b 0 0 10000\r\n").is_empty());
    assert!(send(&mut second, [b'x'; 9_999]).is_empty());
    assert_eq!(endpoint.pending_value_bytes(), PIECE_BYTES + 10_000, "they count nevertheless");
    assert!(matches!(&send(&mut second, "x\r\n")[..], [Request::Store(..)]));
}

#[test]
fn values_that_do_not_go_on_give_way_to_others_and_only_then() {
    let endpoint = endpoint(3 * PIECE_BYTES);
    let mut silent = begin(&endpoint, "silent");
    let mut slow = begin(&endpoint, "slow");
    let mut other = begin(&endpoint, "other");
    for _ in 0..6 {
        endpoint.tick();
        assert!(send(&mut slow, "x").is_empty());
    }
    assert_eq!(endpoint.counters().values_given_up, 0, "nobody wants their memory");
    assert!(send(&mut other, [b'x'; PIECE_BYTES]).is_empty());
    let counters = endpoint.counters();
    assert_eq!((counters.values_given_up, counters.values_refused), (1, 0));
    let refused = send(&mut other, [b'x'; PIECE_BYTES]);
    assert!(is_refused(&refused, b"other"), "the slow one goes on: {refused:?}");
    let refused = send(&mut silent, "x");
    assert!(is_refused(&refused, b"silent"), "{refused:?}");
    let rest = [&[b'x'; 499_998][..], b"\r\nversion\r\n"].concat();
    assert!(matches!(&send(&mut silent, rest)[..], [Request::Version]));
    assert!(send(&mut slow, [b'x'; PIECE_BYTES]).is_empty());
    drop((silent, slow, other));
    assert_eq!(endpoint.pending_value_bytes(), 0);
}

/// What was received is a frame of some KiB that others could use, for as long as the value takes to come.
#[test]
fn a_value_under_way_keeps_nothing_of_what_was_received() {
    let endpoint = endpoint(1 << 20);
    let mut connection = endpoint.accept();
    let received = Buffer::copy_from_slice(b"set key 0 0 10\r\nhello");
    connection.handle_input(received.clone()).unwrap();
    assert!(connection.poll_request().is_none());
    assert!(received.is_unique());
    let stored = send(&mut connection, "world\r\n");
    let [Request::Store(command, value)] = &stored[..] else { panic!("{stored:?}") };
    assert!(command.key == b"key"[..] && *value == b"helloworld"[..]);
}

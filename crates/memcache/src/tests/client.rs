//! Scripts of the client's side.

use sunstar_packet::Buffer;

use crate::{
    ClientConnection, ClientEvent, Direction, Endpoint, Limits, Reply, ReplyError, RequestError, RetrievalCommand,
    StorageCommand, StorageVerb, Value,
};

fn client() -> ClientConnection {
    Endpoint::new(Limits::DEFAULT).connect()
}

fn expect_sent(client: &mut ClientConnection, text: &str) {
    let mut out: Vec<Buffer> = Vec::new();
    client.poll_transmit(&mut out);
    assert_eq!(out.concat().escape_ascii().to_string(), text.as_bytes().escape_ascii().to_string());
}

fn receive(client: &mut ClientConnection, text: &'static str) {
    client.handle_input(Buffer::from(text)).expect("all before was looked at");
}

fn expect_reply(client: &mut ClientConnection, reply: &Reply) {
    match client.poll_event() {
        Some(ClientEvent::Reply(other)) => assert_eq!(other, *reply),
        other => panic!("expected {reply:?}, not {other:?}"),
    }
}

fn expect_item(client: &mut ClientConnection, key: &str, flags: u32, cas: Option<u64>, value: &str) {
    match client.poll_event() {
        Some(ClientEvent::Item(item)) => {
            assert!(item.key == *key.as_bytes() && item.value == *value.as_bytes(), "{item:?}");
            assert_eq!((item.flags, item.cas), (flags, cas));
        }
        other => panic!("expected an item, not {other:?}"),
    }
}

fn set(key: &[u8]) -> StorageCommand<&[u8]> {
    StorageCommand { verb: StorageVerb::Set, key, flags: 0, exptime: 0, noreply: false }
}

#[test]
fn requests_are_written_as_the_protocol_says() {
    let mut client = client();
    client.retrieve(RetrievalCommand::GET, [&b"a"[..], b"b"]).unwrap();
    client.retrieve(RetrievalCommand { with_cas: true, exptime: Some(-1) }, [&b"a"[..]]).unwrap();
    expect_sent(&mut client, "get a b\r\ngats -1 a\r\n");
    client.store(&StorageCommand { flags: u32::MAX, exptime: 60, ..set(b"k") }, Buffer::from("xyz")).unwrap();
    client.store(&StorageCommand { verb: StorageVerb::Cas(7), noreply: true, ..set(b"k") }, Value::new()).unwrap();
    expect_sent(&mut client, "set k 4294967295 60 3\r\nxyz\r\ncas k 0 0 0 7 noreply\r\n\r\n");
    client.delete(b"k", false).unwrap();
    client.count(Direction::Decrement, b"k", u64::MAX, true).unwrap();
    client.touch(b"k", 0, false).unwrap();
    client.flush_all(10, false).unwrap();
    expect_sent(&mut client, "delete k\r\ndecr k 18446744073709551615 noreply\r\ntouch k 0\r\nflush_all 10\r\n");
    client.version().unwrap();
    client.stats("").unwrap();
    client.stats("items").unwrap();
    expect_sent(&mut client, "version\r\nstats\r\nstats items\r\n");
    assert_eq!(client.in_flight(), 9, "quiet ones are not answered");
}

#[test]
fn answers_come_in_the_order_of_requests() {
    let mut client = client();
    client.retrieve(RetrievalCommand::GETS, [&b"a"[..], b"b"]).unwrap();
    client.store(&set(b"a"), Buffer::from("v")).unwrap();
    client.count(Direction::Increment, b"a", 1, false).unwrap();
    client.stats("").unwrap();
    client.version().unwrap();
    receive(
        &mut client,
        "VALUE a 5 3 99\r\nx\r\n\r\nEND\r\nSTORED\r\n17\r\nSTAT pid 1\r\nSTAT v a b\r\nEND\r\nVERSION 1.6\r\n",
    );
    expect_item(&mut client, "a", 5, Some(99), "x\r\n");
    expect_reply(&mut client, &Reply::End);
    expect_reply(&mut client, &Reply::Stored);
    expect_reply(&mut client, &Reply::Number(17));
    for (name, value) in [("pid", "1"), ("v", "a b")] {
        let event = client.poll_event();
        assert!(matches!(event, Some(ClientEvent::Figure(n, v)) if n == *name.as_bytes() && v == *value.as_bytes()));
    }
    expect_reply(&mut client, &Reply::End);
    expect_reply(&mut client, &Reply::Version(Buffer::from("1.6")));
    assert!(client.poll_event().is_none() && !client.is_idle(), "what was written was not taken");
    client.poll_transmit(&mut Vec::new());
    assert!(client.is_idle() && client.handle_end_of_input().is_none());
}

#[test]
fn errors_answer_any_request() {
    let mut client = client();
    (0..3).for_each(|_| client.retrieve(RetrievalCommand::GET, [&b"a"[..]]).unwrap());
    receive(&mut client, "ERROR\r\nCLIENT_ERROR so what\r\nSERVER_ERROR out of memory\r\n");
    expect_reply(&mut client, &Reply::Error);
    expect_reply(&mut client, &Reply::ClientError(Buffer::from("so what")));
    expect_reply(&mut client, &Reply::ServerError(Buffer::from("out of memory")));
}

#[test]
fn a_long_value_is_put_together_and_sent_as_it_is() {
    let mut client = client();
    let bytes: Vec<u8> = (0..200_000_u32).flat_map(|number| number.to_le_bytes()).collect();
    let value = Buffer::copy_from_slice(&bytes);
    let before = value.as_ptr();
    client.store(&set(b"k"), value).unwrap();
    let mut out: Vec<Buffer> = Vec::new();
    client.poll_transmit(&mut out);
    assert!(out.iter().any(|buffer| buffer.as_ptr() == before), "the value was copied");

    client.retrieve(RetrievalCommand::GET, [&b"k"[..]]).unwrap();
    let text = [format!("STORED\r\nVALUE k 0 {}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\nEND\r\n"].concat();
    let mut items = 0;
    for piece in text.chunks(1400) {
        client.handle_input(Buffer::copy_from_slice(piece)).unwrap();
        while let Some(event) = client.poll_event() {
            if let ClientEvent::Item(item) = event {
                assert!(item.value == *bytes && item.value.pieces().len() > 1);
                items += 1;
            }
        }
    }
    assert_eq!((items, client.in_flight()), (1, 0));
}

#[test]
fn what_is_no_answer_ends_the_connection() {
    let long_key: &'static str = format!("VALUE {} 0 1\r\n", "k".repeat(251)).leak();
    let long_line: &'static str = "x".repeat(10_000).leak();
    for (text, error) in [
        ("STORED\r\n", ReplyError::Unexpected),
        ("VALUE a 0\r\n", ReplyError::Unexpected),
        ("VALUE a 0 1 2\r\n", ReplyError::Unexpected),
        ("VALUE a 4294967296 1\r\n", ReplyError::Unexpected),
        ("VALUE a 0 18446744073709551617\r\n", ReplyError::Unexpected),
        ("VALUE a 0 9999999\r\n", ReplyError::ValueTooLong),
        ("VALUE a 0 1\r\nxy\r\n", ReplyError::ValueEnd),
        ("END\r\nEND\r\n", ReplyError::Unasked),
        (long_key, ReplyError::Unexpected),
        (long_line, ReplyError::LineTooLong),
    ] {
        let mut client = client();
        client.retrieve(RetrievalCommand::GET, [&b"a"[..]]).unwrap();
        receive(&mut client, text);
        let last = core::iter::from_fn(|| client.poll_event()).last();
        assert!(matches!(last, Some(ClientEvent::Error(other)) if other == error), "{text:.50}: {last:?}");
        assert!(client.is_closed() && client.version() == Err(RequestError::Closed));
    }
    let mut client = client();
    client.version().unwrap();
    assert_eq!(client.handle_end_of_input(), Some(ReplyError::Truncated));
}

#[test]
fn what_is_no_request_is_not_sent() {
    let mut client = Endpoint::new(Limits { requests_in_flight: 1, ..Limits::DEFAULT }).connect();
    for key in [&b""[..], b"a b", b"a\n", &[b'k'; 251]] {
        assert_eq!(client.delete(key, false), Err(RequestError::Key));
        assert_eq!(client.retrieve(RetrievalCommand::GET, [&b"a"[..], key]), Err(RequestError::Key));
    }
    assert_eq!(client.retrieve(RetrievalCommand::GET, []), Err(RequestError::NoKeys));
    assert_eq!(client.stats("a\r\nflush_all"), Err(RequestError::Argument));
    assert!(client.is_idle(), "nothing was written");
    client.version().unwrap();
    assert_eq!(client.version(), Err(RequestError::TooMany));
    client.delete(b"a", true).expect("one that is not answered is not in flight");
}

//! Properties of any input, and of any conversation.

use proptest::collection::vec;
use proptest::prelude::*;
use sunstar_packet::Buffer;

use super::answered::check_client;
use super::served::check_server;
use crate::{ClientConnection, Endpoint, Limits, Request, StorageCommand, StorageVerb};

/// What requests and answers, and what is wrong with them, are made of.
const FRAGMENTS: &[&str] = &[
    "get ",
    "gets ",
    "gat 0 ",
    "set ",
    "cas ",
    "append ",
    "delete ",
    "incr ",
    "touch ",
    "flush_all",
    "stats",
    "version",
    "quit",
    "mn",
    "verbosity 1",
    "cache_memlimit 64",
    "noreply",
    "a",
    "key ",
    " ",
    "  ",
    "0 ",
    "0 0 5",
    "7 ",
    "-1 ",
    "+1 ",
    "18446744073709551616",
    "4294967296",
    "\r\n",
    "\n",
    "\r",
    "hello\r\n",
    "hello",
    "set a 0 0 5\r\nhello\r\n",
    "set a 0 0 0\r\n\r\n",
    "set a 0 0 17000\r\n",
    "VALUE a 0 5\r\nhello\r\n",
    "VALUE a 0 5 7\r\nhello\r\n",
    "VALUE a 0 17000\r\n",
    "END\r\n",
    "STORED\r\n",
    "NOT_STORED\r\n",
    "NOT_FOUND\r\n",
    "DELETED\r\n",
    "TOUCHED\r\n",
    "OK\r\n",
    "5\r\n",
    "VERSION 1\r\n",
    "STAT a b\r\n",
    "ERROR\r\n",
    "CLIENT_ERROR x\r\n",
    "SERVER_ERROR x\r\n",
];

fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        20 => prop::sample::select(FRAGMENTS).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..5),
        1 => (prop::sample::select(&b"k x0"[..]), 1..400_usize).prop_map(|(byte, count)| std::vec![byte; count]),
    ];
    (any::<[u8; 8]>(), vec(fragment, 0..20)).prop_map(|(seed, fragments)| [&seed[..], &fragments.concat()].concat())
}

/// A value to be stored, and how.
#[derive(Clone, Debug)]
struct Stored {
    verb: StorageVerb,
    key: String,
    flags: u32,
    exptime: i64,
    noreply: bool,
    value: Vec<u8>,
}

fn stored() -> impl Strategy<Value = Stored> {
    let verb = prop_oneof![
        Just(StorageVerb::Set),
        Just(StorageVerb::Add),
        Just(StorageVerb::Replace),
        Just(StorageVerb::Append),
        Just(StorageVerb::Prepend),
        any::<u64>().prop_map(StorageVerb::Cas),
    ];
    let value =
        prop_oneof![vec(any::<u8>(), 0..40), (any::<u8>(), 0..200_000_usize).prop_map(|(b, n)| std::vec![b; n])];
    (verb, "[!-~]{1,250}", any::<u32>(), any::<i64>(), any::<bool>(), value)
        .prop_map(|(verb, key, flags, exptime, noreply, value)| Stored { verb, key, flags, exptime, noreply, value })
}

impl Stored {
    fn command(&self) -> StorageCommand<&[u8]> {
        let Self { verb, flags, exptime, noreply, .. } = *self;
        StorageCommand { verb, key: self.key.as_bytes(), flags, exptime, noreply }
    }

    fn send(&self, client: &mut ClientConnection) {
        client.store(&self.command(), Buffer::copy_from_slice(&self.value)).expect("it is a good request");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn property_fragments_are_seen_alike_however_split(bytes in fragments()) {
        check_server(&bytes);
        check_client(&bytes);
    }

    #[test]
    fn property_any_bytes_are_seen_alike_however_split(bytes in vec(any::<u8>(), 0..200)) {
        check_server(&bytes);
        check_client(&bytes);
    }

    #[test]
    fn property_what_a_client_stores_arrives(all in vec(stored(), 1..6), splits in vec(1..70_000_usize, 1..20)) {
        let endpoint = Endpoint::new(Limits::DEFAULT);
        let (mut client, mut server) = (endpoint.connect(), endpoint.accept());
        all.iter().for_each(|stored| stored.send(&mut client));
        let mut out: Vec<Buffer> = Vec::new();
        client.poll_transmit(&mut out);
        let (text, mut at, mut sizes) = (out.concat(), 0, splits.iter().cycle());
        let mut arrived = all.iter();
        while at < text.len() {
            let end = text.len().min(at + sizes.next().expect("it is endless"));
            server.handle_input(Buffer::copy_from_slice(&text[at..end])).expect("all before was looked at");
            at = end;
            while let Some(request) = server.poll_request() {
                let Request::Store(command, value) = request else { panic!("{request:?}") };
                let stored = arrived.next().expect("no more arrives than was sent");
                let StorageCommand { verb, key, flags, exptime, noreply } = command;
                prop_assert_eq!(StorageCommand { verb, key: &key[..], flags, exptime, noreply }, stored.command());
                prop_assert!(value == *stored.value);
            }
        }
        prop_assert!(arrived.next().is_none() && !server.is_in_request());
        prop_assert_eq!(endpoint.counters().pending_value_bytes, 0);
    }
}

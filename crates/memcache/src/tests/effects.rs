//! What is known of a request before it is done holds when it is done.

use proptest::collection::vec;
use proptest::prelude::*;
use sunstar_packet::Buffer;

use crate::{
    BinaryRequest, Endpoint, KeyHash, Limits, MetaCommand, MetaVerb, Operation, Output, Refusal, Request, Store, Value,
};

const NOW: u32 = 1_700_000_000;

/// Of the names of items.
const NAMES: &[&str] = &["a", "n", "s", "none", "QUI=", "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"];

/// Lines without what follows the name.
const LINES: &[&str] = &[
    "get @",
    "gets @ a",
    "gat 100 @",
    "gats 0 @",
    "delete @",
    "delete @ x",
    "delete @ noreply",
    "incr @ 1",
    "decr @ 18446744073709551615",
    "incr @ x",
    "incr @ 1 noreply",
    "touch @ 100",
    "touch @ x",
    "touch @ 100 noreply",
    "me @",
    "mn",
    "what",
    "verbosity 1",
    "verbosity x noreply",
];

/// Lines with a value of one byte.
const STORES: &[&str] = &[
    "set @ 5 0 1",
    "set @ 5 0 1 noreply",
    "add @ 0 100 1",
    "replace @ 0 0 1",
    "append @ 0 0 1",
    "prepend @ 0 0 1 noreply",
    "cas @ 0 0 1 3",
    "set @ x 0 1",
    "ms @ 1",
];

/// Meta commands, to which flags belong.
const METAS: &[&str] = &["mg @", "md @", "ma @"];

const FLAGS: &[&str] = &[
    "v",
    "s",
    "t",
    "c",
    "f",
    "l",
    "h",
    "k",
    "q",
    "u",
    "I",
    "b",
    "T100",
    "N100",
    "R200",
    "C3",
    "F7",
    "D5",
    "J18446744073709551615",
    "O1234567890123456789012345678901",
    "MD",
    "MA",
];

struct World {
    endpoint: Endpoint,
    store: Store,
}

impl World {
    /// With a value, a number of all digits, and an item that should be renewed.
    fn new() -> Self {
        let mut world =
            Self { endpoint: Endpoint::new(Limits::DEFAULT), store: Store::new(KeyHash::new([1, 2]), 1 << 20) };
        for text in [
            "set a 4294967295 1000 5\r\nhello\r\n",
            "set n 0 0 20\r\n18446744073709551615\r\n",
            "set s 0 0 1\r\nx\r\n",
            "md s I\r\n",
        ] {
            world.check(text.as_bytes());
        }
        world
    }

    /// What is there, with all that a command may change, but for who was told to renew it.
    fn items(&mut self) -> Vec<String> {
        let look = |name: &&str| {
            let key = self.store.key(name.as_bytes());
            let mut output = Output::new(&self.endpoint);
            let look = Operation::Meta(Box::new(MetaCommand::new(MetaVerb::Debug)));
            self.store.execute(&look, key, &Value::new(), NOW, &mut output);
            let told = String::from_utf8(sent(&mut output)).expect("text");
            // Whoever asks has asked.
            told.replace("fetch=no", "").replace("fetch=yes", "")
        };
        NAMES.iter().map(look).collect()
    }

    fn execute(&mut self, request: Request, output: &mut Output) {
        let none = Value::new();
        let mut operate = |operation, key: &[u8], value: &Value| {
            let key = self.store.key(key);
            self.store.execute(&operation, key, value, NOW, output);
        };
        match request {
            Request::Store(command, value) => {
                let (verb, flags, exptime, noreply) = (command.verb, command.flags, command.exptime, command.noreply);
                operate(Operation::Store { verb, flags, exptime, noreply }, &command.key, &value);
            }
            Request::Retrieve { command, keys, .. } => {
                keys.iter().for_each(|key| operate(Operation::Retrieve(command), key, &none));
            }
            Request::Delete { key, noreply } => operate(Operation::Delete { noreply }, &key, &none),
            Request::Count { direction, key, by, noreply } => {
                operate(Operation::Count { direction, by, noreply }, &key, &none);
            }
            Request::Touch { key, exptime, noreply } => operate(Operation::Touch { exptime, noreply }, &key, &none),
            Request::Meta(command, key, value) => operate(Operation::Meta(command), &key, &value),
            Request::Binary(BinaryRequest::Item(command, key, value)) => {
                operate(Operation::Binary(command), &key, &value);
            }
            Request::Binary(BinaryRequest::Refused { tag, status, .. }) => output.put_packet_status(tag, status),
            Request::Refused { noreply: true, .. } => {}
            Request::Refused { refusal, .. } => output.put_refusal(refusal),
            Request::MetaNoop => output.put(b"MN\r\n"),
            Request::Verbosity { noreply } => output.put(if noreply { b"" } else { b"OK\r\n" }),
            other => panic!("{other:?}"),
        }
    }

    /// Does all requests, and looks whether what was known of each is so.
    fn check(&mut self, bytes: &[u8]) {
        let mut connection = self.endpoint.accept();
        connection.handle_input(Buffer::copy_from_slice(bytes)).expect("nothing came before");
        while let Some(request) = connection.poll_request() {
            let shown = format!("{request:?}");
            let (changes, longest) = (request.changes_items(), request.longest_answer_bytes());
            let before = self.items();
            let mut output = Output::new(&self.endpoint);
            self.execute(request, &mut output);
            let answer = sent(&mut output);
            assert!(longest.is_none_or(|longest| answer.len() <= longest), "{shown}: {}", answer.escape_ascii());
            assert!(changes || self.items() == before, "{shown} has changed something");
        }
    }
}

fn sent(output: &mut Output) -> Vec<u8> {
    let mut out: Vec<Buffer> = Vec::new();
    output.poll_transmit(&mut out);
    out.concat()
}

/// A packet of the binary protocol with extras of zeros, but for what is added or a time.
fn packet(opcode: u8, extras_bytes: u8, name: &str, value: &str) -> Vec<u8> {
    let body = u32::from(extras_bytes) + u32::try_from(name.len() + value.len()).expect("they are short");
    let key_bytes = u8::try_from(name.len()).expect("it is short");
    let mut bytes = vec![0x80, opcode, 0, key_bytes, extras_bytes, 0, 0, 0];
    bytes.extend(body.to_be_bytes());
    bytes.extend([0; 12]);
    bytes.extend((0..extras_bytes).map(|at| u8::from(at % 4 == 3)));
    [&bytes[..], name.as_bytes(), value.as_bytes()].concat()
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let name = || prop::sample::select(NAMES);
    let line =
        (prop::sample::select(LINES), name()).prop_map(|(line, name)| format!("{}\r\n", line.replace('@', name)));
    let store =
        (prop::sample::select(STORES), name()).prop_map(|(line, name)| format!("{}\r\n7\r\n", line.replace('@', name)));
    let meta = (prop::sample::select(METAS), name(), prop::sample::subsequence(FLAGS, 0..8).prop_shuffle())
        .prop_map(|(line, name, flags)| format!("{} {}\r\n", line.replace('@', name), flags.join(" ")));
    let shape = prop::sample::select(
        &[
            (0x00, 0, ""),
            (0x0c, 0, ""),
            (0x01, 8, "7"),
            (0x02, 8, "x"),
            (0x11, 8, "x"),
            (0x04, 0, ""),
            (0x05, 20, ""),
            (0x0e, 0, "x"),
            (0x1c, 4, ""),
            (0x1d, 4, ""),
            (0x77, 0, ""),
        ][..],
    );
    prop_oneof![
        2 => line.prop_map(String::into_bytes),
        1 => store.prop_map(String::into_bytes),
        3 => meta.prop_map(String::into_bytes),
        2 => (shape, name()).prop_map(|((opcode, extras, value), name)| packet(opcode, extras, name, value)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn property_what_is_known_of_a_request_before_holds(requests in vec(request(), 1..20)) {
        let mut world = World::new();
        requests.iter().for_each(|request| world.check(request));
    }
}

#[test]
fn what_looks_at_all_that_is_stored_is_known_before() {
    let endpoint = Endpoint::new(Limits::DEFAULT);
    let looks = |bytes: &[u8]| {
        let mut connection = endpoint.accept();
        connection.handle_input(Buffer::copy_from_slice(bytes)).expect("nothing came before");
        connection.poll_request().expect("it is whole").looks_at_everything()
    };
    for text in [
        "lru_crawler crawl all\r\n",
        "lru_crawler crawl 63 noreply\r\n",
        "lru_crawler metadump 63\r\n",
        "lru_crawler mgdump hash\r\n",
        "stats sizes\r\n",
        "stats   cachedump 1 0\r\n",
    ] {
        assert!(looks(text.as_bytes()), "{text}");
    }
    for text in ["stats\r\n", "stats items\r\n", "stats sizes_enable\r\n", "get sizes\r\n", "flush_all\r\n"] {
        assert!(!looks(text.as_bytes()), "{text}");
    }
    let stats = 0x10;
    assert!(looks(&packet(stats, 0, "sizes", "")) && looks(&packet(stats, 0, "cachedump 1 0", "")));
    assert!(!looks(&packet(stats, 0, "items", "")));
}

#[test]
fn what_may_not_be_known_before_is_said_to_be_unknown() {
    let endpoint = Endpoint::new(Limits::DEFAULT);
    let known = |text: &str| {
        let mut connection = endpoint.accept();
        connection.handle_input(Buffer::copy_from_slice(text.as_bytes())).expect("nothing came before");
        let request = connection.poll_request().expect("it is whole");
        (request.changes_items(), request.longest_answer_bytes())
    };
    for (text, expected) in [
        ("get a\r\n", (false, None)),
        ("gat 0 a\r\n", (true, None)),
        ("mg a v\r\n", (true, None)),
        ("mg a v N0\r\n", (true, None)),
        ("mg a\r\n", (true, Some("HD X W\r\n".len()))),
        ("mg a T0 N0 R0 h\r\n", (true, Some("HD h1 X W\r\n".len()))),
        ("mg a k\r\n", (true, Some("HD kAAAA b X W\r\n".len()))),
        ("md a\r\n", (true, Some("HD\r\n".len()))),
        ("ms a 1\r\n7\r\n", (true, Some(Refusal::NoMemory.line().len() + 2))),
        ("ma a v\r\n", (true, Some(Refusal::NotANumber.line().len() + 2))),
        ("me a\r\n", (false, None)),
        ("stats\r\n", (false, None)),
        ("version\r\n", (false, None)),
        ("quit\r\n", (false, Some(0))),
        ("flush_all\r\n", (true, Some(4))),
        ("flush_all noreply\r\n", (true, Some(0))),
        ("cache_memlimit 64\r\n", (true, Some(4))),
        ("lru_crawler crawl all\r\n", (false, Some(Refusal::CrawlerBusy.line().len() + 2))),
        ("incr a 1\r\n", (true, Some(Refusal::NotANumber.line().len() + 2))),
        ("delete a\r\n", (true, Some(11))),
        // What it should have replaced goes.
        (&format!("set a 0 0 1048576\r\n{}\r\n", "x".repeat(1 << 20)), (true, Some(41))),
    ] {
        assert_eq!(known(text), expected, "{text:.30}");
    }
}

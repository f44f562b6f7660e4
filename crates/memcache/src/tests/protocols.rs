//! What is bounded is so in each protocol: what grows, what comes in parts, what answers have, and what finds no memory.

use sunstar_packet::Buffer;

use crate::input::PIECE_BYTES;
use crate::{
    BinaryCommand, BinaryRequest, BinaryTag, BinaryVerb, Direction, Endpoint, ITEM_OVERHEAD_BYTES, KeyHash,
    LARGE_VALUE_BYTES, Limits, MetaCommand, MetaVerb, Operation, Output, Request, RetrievalCommand, ServerConnection,
    StorageVerb, Store, Value,
};

const NOW: u32 = 1_700_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Text,
    Meta,
    Binary,
}

/// How the storing of a value went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Stored,
    NotStored,
    TooLarge,
    NoMemory,
}

impl Protocol {
    const ALL: [Self; 3] = [Self::Text, Self::Meta, Self::Binary];

    /// A request that stores a value under the key `a`.
    fn store(self, verb: StorageVerb, value: &[u8]) -> Vec<u8> {
        let (name, mode, opcode) = match verb {
            StorageVerb::Set => ("set", 'S', 0x01),
            StorageVerb::Add => ("add", 'E', 0x02),
            StorageVerb::Replace => ("replace", 'R', 0x03),
            StorageVerb::Append => ("append", 'A', 0x0e),
            StorageVerb::Prepend => ("prepend", 'P', 0x0f),
            StorageVerb::Cas(_) => ("cas", 'S', 0x01),
        };
        let cas = if let StorageVerb::Cas(cas) = verb { cas } else { 0 };
        let len = value.len();
        let line = match self {
            Self::Text if cas != 0 => format!("{name} a 0 0 {len} {cas}"),
            Self::Text => format!("{name} a 0 0 {len}"),
            Self::Meta if cas != 0 => format!("ms a {len} C{cas}"),
            Self::Meta => format!("ms a {len} M{mode}"),
            Self::Binary => return packet(opcode, if matches!(opcode, 0x0e | 0x0f) { 0 } else { 8 }, cas, value),
        };
        [line.as_bytes(), b"\r\n", value, b"\r\n"].concat()
    }

    /// A request for the item of this key.
    fn get(self) -> Vec<u8> {
        match self {
            Self::Text => b"get a\r\n".into(),
            Self::Meta => b"mg a v\r\n".into(),
            Self::Binary => packet(0x00, 0, 0, &[]),
        }
    }

    /// What follows a value, in bytes.
    fn end_bytes(self) -> usize {
        if self == Self::Binary { 0 } else { 2 }
    }

    fn told(self, answer: &[u8]) -> Told {
        let text = str::from_utf8(answer).unwrap_or("a packet");
        match (self, text.trim_end()) {
            (Self::Binary, _) => match answer[7] {
                0x00 => Told::Stored,
                0x03 => Told::TooLarge,
                0x05 => Told::NotStored,
                0x82 => Told::NoMemory,
                status => panic!("status {status:#x}"),
            },
            (_, "STORED" | "HD") => Told::Stored,
            (_, "NOT_STORED" | "NS") => Told::NotStored,
            (_, "SERVER_ERROR object too large for cache") => Told::TooLarge,
            (_, "SERVER_ERROR out of memory storing object") => Told::NoMemory,
            (_, other) => panic!("{other}"),
        }
    }

    /// The value in an answer; `None` if there is no item.
    fn value(self, answer: &[u8]) -> Option<Vec<u8>> {
        let (front, behind) = match self {
            Self::Binary if answer[7] != 0 => return None,
            Self::Binary => (28, 0),
            _ if answer.starts_with(b"E") => return None,
            Self::Text => (answer.iter().position(|byte| *byte == b'\n').expect("a line") + 1, 2),
            Self::Meta => (answer.iter().position(|byte| *byte == b'\n').expect("a line") + 1, 2),
        };
        Some(answer[front..answer.len() - behind].to_vec())
    }
}

fn packet(opcode: u8, extras_bytes: u8, cas: u64, value: &[u8]) -> Vec<u8> {
    let body = u32::try_from(usize::from(extras_bytes) + 1 + value.len()).expect("it is short");
    let mut bytes = vec![0x80, opcode, 0, 1, extras_bytes, 0, 0, 0];
    bytes.extend(body.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(cas.to_be_bytes());
    bytes.resize(bytes.len() + usize::from(extras_bytes), 0);
    [&bytes, &b"a"[..], value].concat()
}

/// A server of one shard.
struct World {
    endpoint: Endpoint,
    store: Store,
}

impl World {
    fn new(limits: Limits) -> Self {
        let mut store = Store::new(KeyHash::new([1, 2]), 4 << 20);
        store.set_item_limit(limits.item_bytes);
        Self { endpoint: Endpoint::new(limits), store }
    }

    /// What comes back when this is sent, as it would be sent.
    fn answers(&mut self, connection: &mut ServerConnection, bytes: &[u8]) -> Vec<Buffer> {
        connection.handle_input(Buffer::copy_from_slice(bytes)).expect("all before was looked at");
        let mut output = Output::new(&self.endpoint);
        while let Some(request) = connection.poll_request() {
            self.take(request, &mut output);
        }
        let mut out = Vec::new();
        output.poll_transmit(&mut out);
        out
    }

    fn take(&mut self, request: Request, output: &mut Output) {
        let none = Value::new();
        let mut execute = |operation, key: &[u8], value: &Value, output: &mut Output| {
            let key = self.store.key(key);
            self.store.execute(&operation, key, value, NOW, output);
        };
        match request {
            Request::Store(command, value) => {
                let operation = Operation::Store { verb: command.verb, flags: 0, exptime: 0, noreply: false };
                execute(operation, &command.key, &value, output);
            }
            Request::Retrieve { command, keys, .. } => {
                keys.iter().for_each(|key| execute(Operation::Retrieve(command), key, &none, output));
                if output.is_empty() {
                    output.put(b"END\r\n");
                }
            }
            Request::Meta(command, key, value) => execute(Operation::Meta(command), &key, &value, output),
            Request::Binary(BinaryRequest::Item(command, key, value)) => {
                execute(Operation::Binary(command), &key, &value, output);
            }
            Request::Refused { refusal, stale, .. } => {
                stale.iter().for_each(|key| execute(Operation::Forget, key, &none, output));
                output.put_refusal(refusal);
            }
            Request::Binary(BinaryRequest::Refused { tag, status, stale }) => {
                stale.iter().for_each(|key| execute(Operation::Forget, key, &none, output));
                output.put_packet_status(tag, status);
            }
            other => panic!("{other:?}"),
        }
    }

    fn ask(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut connection = self.endpoint.accept();
        self.answers(&mut connection, bytes).concat()
    }

    fn store(&mut self, protocol: Protocol, verb: StorageVerb, value: &[u8]) -> Told {
        protocol.told(&self.ask(&protocol.store(verb, value)))
    }

    fn get(&mut self, protocol: Protocol) -> Option<Vec<u8>> {
        protocol.value(&self.ask(&protocol.get()))
    }
}

#[test]
fn what_grows_has_a_limit_in_each_protocol() {
    for protocol in Protocol::ALL {
        let mut world = World::new(Limits { item_bytes: 100_000, ..Limits::DEFAULT });
        let room = 100_000 - ITEM_OVERHEAD_BYTES - 1;
        for verb in [StorageVerb::Append, StorageVerb::Prepend] {
            assert_eq!(world.store(protocol, StorageVerb::Set, &vec![7; room - 10]), Told::Stored);
            assert_eq!(world.store(protocol, verb, &[7; 10]), Told::Stored, "{protocol:?}");
            assert_eq!(world.store(protocol, verb, &[7]), Told::NotStored, "{protocol:?}");
            assert_eq!(world.get(protocol), Some(vec![7; room]), "{protocol:?}");
        }
        assert_eq!(world.store.counters().too_large, 2);
        let long = vec![1; room + 1];
        assert_eq!(world.store(protocol, StorageVerb::Replace, &long), Told::TooLarge, "{protocol:?}");
        assert!(world.get(protocol).is_some(), "{protocol:?}");
        assert_eq!(world.store(protocol, StorageVerb::Set, &long), Told::TooLarge, "{protocol:?}");
        assert!(world.get(protocol).is_none(), "{protocol:?}: an old value would be wrong");
    }
}

/// Flags are a part of an item only if they are not 0. So it is for memcached.
#[test]
fn the_largest_value_is_that_of_memcached() {
    let mut world = World::new(Limits::DEFAULT);
    for (flags, most) in [(0, 1_048_516), (5, 1_048_512)] {
        for (len, answers) in [(most, ["STORED", "HD"]), (most + 1, ["SERVER_ERROR object too large for cache"; 2])] {
            for (line, answer) in [format!("set a {flags} 0 {len}"), format!("ms a {len} F{flags}")].iter().zip(answers)
            {
                let told = world.ask(&[line.as_bytes(), b"\r\n", &vec![b'x'; len], b"\r\n"].concat());
                assert_eq!(told, format!("{answer}\r\n").as_bytes(), "{line}");
            }
            let mut packet = packet(0x01, 8, 0, &vec![b'x'; len]);
            packet[27] = flags;
            let told = if answers[0] == "STORED" { Told::Stored } else { Told::TooLarge };
            assert_eq!(Protocol::Binary.told(&world.ask(&packet)), told, "{flags} {len}");
        }
    }
}

#[test]
fn what_comes_in_parts_takes_memory_as_it_comes_in_each_protocol() {
    for protocol in Protocol::ALL {
        let mut world = World::new(Limits::DEFAULT);
        let request = protocol.store(StorageVerb::Set, &[b'x'; 500_000]);
        let (begun, rest) = request.split_at(request.len() - protocol.end_bytes() - 499_999);
        let mut connection = world.endpoint.accept();
        let received = Buffer::copy_from_slice(begun);
        connection.handle_input(received.clone()).expect("nothing came before");
        assert!(connection.poll_request().is_none());
        assert!(received.is_unique(), "{protocol:?}: it keeps nothing of what was received");
        assert_eq!(world.endpoint.pending_value_bytes(), PIECE_BYTES, "{protocol:?}");
        let (more, rest) = rest.split_at(PIECE_BYTES);
        assert!(world.answers(&mut connection, more).is_empty());
        assert_eq!(world.endpoint.pending_value_bytes(), 2 * PIECE_BYTES, "{protocol:?}");
        assert_eq!(protocol.told(&world.answers(&mut connection, rest).concat()), Told::Stored);
        assert_eq!(world.endpoint.pending_value_bytes(), 0, "{protocol:?}");
        assert_eq!(world.get(protocol), Some(vec![b'x'; 500_000]), "{protocol:?}");
    }
}

/// The requests that follow are read where they begin, whenever the memory was used up.
#[test]
fn what_finds_no_memory_is_skipped_in_each_protocol() {
    for (protocol, pieces) in Protocol::ALL.into_iter().flat_map(|protocol| [(protocol, 0), (protocol, 2)]) {
        let pending_value_bytes = pieces * PIECE_BYTES;
        let mut world = World::new(Limits { pending_value_bytes, ..Limits::DEFAULT });
        assert_eq!(world.store(protocol, StorageVerb::Set, b"old"), Told::Stored);
        let request = [protocol.store(StorageVerb::Set, &[b'x'; 500_000]), protocol.get()].concat();
        let mut connection = world.endpoint.accept();
        let answers: Vec<_> = request.chunks(10_000).flat_map(|part| world.answers(&mut connection, part)).collect();
        let [refused, missing] = &answers[..] else { panic!("{protocol:?}: {answers:?}") };
        assert_eq!(protocol.told(refused), Told::NoMemory, "{protocol:?}");
        assert_eq!(protocol.value(missing), None, "{protocol:?}: an old value would be wrong");
        let counters = world.endpoint.counters();
        assert_eq!((counters.values_refused, counters.pending_value_bytes), (1, 0), "{protocol:?}");
    }
}

#[test]
fn large_values_count_until_the_last_answer_lets_go_in_each_protocol() {
    for protocol in Protocol::ALL {
        let mut world = World::new(Limits::DEFAULT);
        assert_eq!(world.store(protocol, StorageVerb::Set, &[1; 200_000]), Told::Stored);
        let mut connection = world.endpoint.accept();
        let answer = world.answers(&mut connection, &protocol.get());
        assert_eq!(world.store.figures().held_bytes, 0, "the item is there");
        assert_eq!(world.store(protocol, StorageVerb::Set, &[2; 200_000]), Told::Stored);
        assert!(world.store.figures().held_bytes >= 200_000, "{protocol:?}");
        assert_eq!(protocol.value(&answer.concat()), Some(vec![1; 200_000]), "{protocol:?}");
        drop(answer);
        assert_eq!(world.store.figures().held_bytes, 0, "{protocol:?}");
    }
}

/// But for what should have replaced anything: then the old value would be wrong.
#[test]
fn what_finds_no_memory_leaves_the_item_in_each_protocol() {
    for protocol in Protocol::ALL {
        let mut world = World::new(Limits::DEFAULT);
        // The second one has a later unique number than the first.
        for _ in 0..2 {
            assert_eq!(world.store(protocol, StorageVerb::Set, &[1; 300_000]), Told::Stored);
        }
        let mut connection = world.endpoint.accept();
        // What an answer has does not go to make room.
        let answer = world.answers(&mut connection, &protocol.get());
        world.store.lend(3_600_000);
        for (verb, told) in [
            (StorageVerb::Append, Told::NotStored),
            (StorageVerb::Prepend, Told::NotStored),
            (StorageVerb::Replace, Told::NoMemory),
            (StorageVerb::Cas(2), Told::NoMemory),
        ] {
            assert_eq!(world.store(protocol, verb, &[2; 300_000]), told, "{protocol:?} {verb:?}");
            assert_eq!(world.get(protocol), Some(vec![1; 300_000]), "{protocol:?} {verb:?}");
        }
        // An older number, which may store what is stale.
        let stale = [b"ms a 300000 C1 I\r\n", &[2; 300_000][..], b"\r\n"].concat();
        assert_eq!(Protocol::Meta.told(&world.ask(&stale)), Told::NoMemory);
        assert_eq!(world.ask(b"mg a s c\r\n"), b"HD s300000 c2\r\n");
        assert_eq!(world.store(protocol, StorageVerb::Set, &[2; 300_000]), Told::NoMemory, "{protocol:?}");
        assert_eq!(world.get(protocol), None, "{protocol:?}");
        drop(answer);
        world.store.lend(0);
        assert_eq!(world.store(protocol, StorageVerb::Set, &[2; 300_000]), Told::Stored, "{protocol:?}");
    }
}

/// A server whose clock is not the wall's has to know all of them.
#[test]
fn all_times_of_all_operations_are_converted() {
    let meta = MetaCommand { exptime: Some(1), vivify: Some(2), recache: Some(3), ..MetaCommand::new(MetaVerb::Get) };
    let later = MetaCommand { exptime: Some(-1), vivify: Some(-2), recache: Some(-3), ..meta.clone() };
    let tag = BinaryTag { opcode: 0, opaque: [0; 4] };
    let binary = |verb| Operation::Binary(BinaryCommand { tag, verb, is_quiet: false, cas: 0 });
    let (verb, flags, noreply, with_key) = (StorageVerb::Set, 7, false, false);
    let count = |exptime| BinaryVerb::Count { direction: Direction::Increment, by: 1, initial: 1, exptime };
    let retrieve = |exptime| Operation::Retrieve(RetrievalCommand { with_cas: false, exptime });
    let retrieve_last = |exptime| Operation::RetrieveLast(RetrievalCommand { with_cas: false, exptime });
    for (mut operation, converted) in [
        (retrieve(Some(1)), retrieve(Some(-1))),
        (retrieve(None), retrieve(None)),
        (retrieve_last(Some(1)), retrieve_last(Some(-1))),
        (Operation::Touch { exptime: 1, noreply }, Operation::Touch { exptime: -1, noreply }),
        (Operation::Store { verb, flags, exptime: 1, noreply }, Operation::Store { verb, flags, exptime: -1, noreply }),
        (Operation::Meta(Box::new(meta)), Operation::Meta(Box::new(later))),
        (binary(BinaryVerb::Touch { exptime: 1 }), binary(BinaryVerb::Touch { exptime: -1 })),
        (
            binary(BinaryVerb::GetAndTouch { with_key, exptime: 1 }),
            binary(BinaryVerb::GetAndTouch { with_key, exptime: -1 }),
        ),
        (binary(BinaryVerb::Store { verb, flags, exptime: 1 }), binary(BinaryVerb::Store { verb, flags, exptime: -1 })),
        (binary(count(Some(1))), binary(count(Some(-1)))),
        (binary(count(None)), binary(count(None))),
        (binary(BinaryVerb::Delete), binary(BinaryVerb::Delete)),
        (Operation::Delete { noreply }, Operation::Delete { noreply }),
    ] {
        operation.convert_times(|time| -time);
        assert_eq!(operation, converted);
    }
}

#[test]
fn the_last_item_ends_the_answer_whether_it_is_there_or_not() {
    let mut world = World::new(Limits::DEFAULT);
    world.ask(b"set small 0 0 1\r\na\r\n");
    let large = "x".repeat(LARGE_VALUE_BYTES);
    world.ask(format!("set large 0 0 {LARGE_VALUE_BYTES}\r\n{large}\r\n").as_bytes());
    let found = format!("VALUE large 0 {LARGE_VALUE_BYTES}\r\n{large}\r\nEND\r\n");
    for (key, answer) in [("small", "VALUE small 0 1\r\na\r\nEND\r\n"), ("large", &found), ("none", "END\r\n")] {
        let mut output = Output::new(&world.endpoint);
        let (operation, none) = (Operation::RetrieveLast(RetrievalCommand::GET), Value::new());
        let key = world.store.key(key.as_bytes());
        world.store.execute(&operation, key, &none, NOW, &mut output);
        let mut out: Vec<Buffer> = Vec::new();
        output.poll_transmit(&mut out);
        assert_eq!(out.concat(), answer.as_bytes());
    }
}

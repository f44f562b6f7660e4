//! The gates of the memcache protocol and its store: `sunstar-gates-memcache NAME`, or `--list`.
//!
//! One operation is a request that comes in a buffer of its own, what it does, and its answer, made ready to be sent. Keys have 32 bytes,
//! values 100.

use std::cell::RefCell;
use std::hint::black_box;
use std::process::ExitCode;

use sunstar_bench_common::gates::{self, Gate, Work};
use sunstar_memcache::{
    BinaryRequest, Endpoint, Expiry, KEYS_AHEAD, KeyHash, Limits, Operation, Output, Request, ServerConnection,
    StorageVerb, Store, Value,
};
use sunstar_packet::Buffer;

const GATES: [Gate; 4] = [
    ("memcache_get", || answered(format!("get {}\r\n", key(1)).into_bytes(), ITEM_BYTES + END_BYTES)),
    ("memcache_set", || answered(format!("set {} 0 0 100\r\n{}\r\n", key(1), value()).into_bytes(), STORED_BYTES)),
    ("memcache_multiget", || answered(multiget(), KEYS * ITEM_BYTES + END_BYTES)),
    ("memcache_binary", || answered(binary_get(), PACKET_BYTES)),
];

/// Of a get of several: as many as are looked at together.
const KEYS: usize = KEYS_AHEAD;
/// Items that are there.
const ITEMS: usize = 10_000;
const MEMORY_BYTES: usize = 64 << 20;
const NOW_S: u32 = 1_000_000_000;

const ITEM_BYTES: usize = "VALUE  0 100\r\n".len() + 32 + 100 + "\r\n".len();
const END_BYTES: usize = "END\r\n".len();
const STORED_BYTES: usize = "STORED\r\n".len();
/// A header, the flags and the value.
const PACKET_BYTES: usize = 24 + 4 + 100;

fn main() -> ExitCode {
    gates::main(&GATES)
}

fn key(number: usize) -> String {
    format!("{number:032}")
}

fn value() -> String {
    "x".repeat(100)
}

fn multiget() -> Vec<u8> {
    let keys: Vec<String> = (0..KEYS).map(key).collect();
    format!("get {}\r\n", keys.join(" ")).into_bytes()
}

/// `get`, which has neither extras nor a value.
fn binary_get() -> Vec<u8> {
    let mut packet = vec![0; 24];
    (packet[0], packet[3], packet[11]) = (0x80, 32, 32);
    packet.extend(key(1).bytes());
    packet
}

/// The same request again and again, and how long each answer has to be.
fn answered(request: Vec<u8>, answer_bytes: usize) -> Work {
    let input = Buffer::from(request);
    let shard = RefCell::new(Shard::new());
    Box::new(move |count| {
        let shard = &mut *shard.borrow_mut();
        let mut connection = shard.endpoint.accept();
        for _ in 0..count {
            assert_eq!(shard.answer(&mut connection, black_box(input.clone())), answer_bytes);
        }
    })
}

/// What memcached has on a shard, but for its network.
struct Shard {
    endpoint: Endpoint,
    hash: KeyHash,
    store: Store,
    output: Output,
    sent: Vec<Buffer>,
}

impl Shard {
    fn new() -> Self {
        let (endpoint, hash) = (Endpoint::new(Limits::DEFAULT), KeyHash::new([1, 2]));
        let mut store = Store::new(hash, MEMORY_BYTES);
        let value = Value::from(Buffer::from(value().into_bytes()));
        for number in 0..ITEMS {
            store.store(StorageVerb::Set, hash.key(key(number).as_bytes()), 0, Expiry::NEVER, &value, NOW_S);
        }
        Self { output: Output::new(&endpoint), endpoint, hash, store, sent: Vec::new() }
    }

    /// Answers what has come, and tells by how many bytes.
    fn answer(&mut self, connection: &mut ServerConnection, input: Buffer) -> usize {
        connection.handle_input(input).expect("all before was looked at");
        while let Some(request) = connection.poll_request() {
            self.take(request);
        }
        let bytes = self.output.poll_transmit(&mut self.sent);
        black_box(&self.sent);
        self.sent.clear();
        bytes
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Retrieve { command, keys, .. } => {
                let keys = keys.iter().map(|key| self.hash.key(key));
                if keys.clone().nth(1).is_some() {
                    self.store.look_ahead(keys.clone());
                }
                let (one_of_several, last) = (Operation::Retrieve(command), Operation::RetrieveLast(command));
                let mut keys = keys.peekable();
                while let Some(key) = keys.next() {
                    let operation = if keys.peek().is_none() { &last } else { &one_of_several };
                    self.store.execute(operation, key, &Value::new(), NOW_S, &mut self.output);
                }
            }
            Request::Store(command, value) => {
                let operation = Operation::Store {
                    verb: command.verb,
                    flags: command.flags,
                    exptime: command.exptime,
                    noreply: command.noreply,
                };
                self.store.execute(&operation, self.hash.key(&command.key), &value, NOW_S, &mut self.output);
            }
            Request::Binary(BinaryRequest::Item(command, key, value)) => {
                let operation = Operation::Binary(command);
                self.store.execute(&operation, self.hash.key(&key), &value, NOW_S, &mut self.output);
            }
            _ => panic!("the gates ask for nothing else"),
        }
    }
}

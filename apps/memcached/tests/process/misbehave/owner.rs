//! A client that does nothing wrong, and knows what every answer may be: nobody else writes to its items, though they may go at any time.

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::Counts;
use super::values::{Answered, Part, Rng, filler, read_part};
use crate::server::PATIENCE;

/// Its keys; of these so many have numbers.
const KEYS: usize = 200;
const NUMBERS: usize = 40;
/// Requests under way at most.
const DEPTH: usize = 40;
/// Batches on a connection at most.
const BATCHES: usize = 300;

/// An item that may be there, unless it had to go.
#[derive(Clone, Debug)]
struct Expected {
    flags: u32,
    value: Vec<u8>,
    /// If it is known.
    unique: Option<u64>,
}

/// What is asked for, of one of the keys or several.
#[derive(Debug)]
enum Operation {
    Get { keys: Vec<String>, verb: &'static str },
    Store { key: String, verb: &'static str, flags: u32, value: Vec<u8>, unique: u64 },
    Count { key: String, verb: &'static str, by: u64 },
    Delete { key: String },
    Touch { key: String },
}

/// What it has stored. What is not here is not there.
#[derive(Default)]
struct Owner {
    items: HashMap<String, Expected>,
    hits: u64,
}

/// Asks and checks until all is over. Its items are told from those of others by its seed.
pub(super) fn run(address: SocketAddr, seed: u64, is_over: &AtomicBool, counts: &Counts) {
    let (mut owner, mut rng) = (Owner::default(), Rng::new(seed));
    while !is_over.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("a socket can");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has one");
        let mut reader = BufReader::new(stream.try_clone().expect("a socket can"));
        for _ in 0..1 + rng.below(BATCHES) {
            let batch: Vec<Operation> =
                (0..1 + rng.below(DEPTH)).map(|_| owner.choose(&format!("own:{seed}"), &mut rng)).collect();
            let bytes = batch.iter().flat_map(Operation::bytes).collect::<Vec<u8>>();
            // The server takes no more than there is room for its answers.
            thread::scope(|scope| {
                scope.spawn(|| stream.write_all(&bytes).expect("it is taken"));
                batch.iter().for_each(|operation| owner.check(operation, &mut reader));
            });
            counts.operations.fetch_add(batch.len() as u64, Ordering::Relaxed);
            if is_over.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    counts.hits.fetch_add(owner.hits, Ordering::Relaxed);
}

impl Operation {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Get { keys, verb: "gat" } => format!("gat 1000 {}\r\n", keys.join(" ")).into_bytes(),
            Self::Get { keys, verb } => format!("{verb} {}\r\n", keys.join(" ")).into_bytes(),
            Self::Store { key, verb, flags, value, unique } => {
                let unique = if *verb == "cas" { format!(" {unique}") } else { String::new() };
                let line = format!("{verb} {key} {flags} 0 {}{unique}\r\n", value.len());
                [line.as_bytes(), value, b"\r\n"].concat()
            }
            Self::Count { key, verb, by } => format!("{verb} {key} {by}\r\n").into_bytes(),
            Self::Delete { key } => format!("delete {key}\r\n").into_bytes(),
            Self::Touch { key } => format!("touch {key} 1000\r\n").into_bytes(),
        }
    }
}

impl Owner {
    fn choose(&self, prefix: &str, rng: &mut Rng) -> Operation {
        let number = rng.below(KEYS);
        let key = format!("{prefix}:{number}");
        let is_number = number < NUMBERS;
        match rng.below(10) {
            0..4 => {
                let count = if rng.below(4) == 0 { 1 + rng.below(30) } else { 1 };
                let keys = (0..count).map(|_| format!("{prefix}:{}", rng.below(KEYS))).collect();
                Operation::Get { keys, verb: ["get", "gets", "gat"][rng.below(3)] }
            }
            4 => Operation::Delete { key },
            5 => Operation::Touch { key },
            _ if is_number && rng.below(3) > 0 => {
                Operation::Count { key, verb: ["incr", "decr"][rng.below(2)], by: rng.next() >> rng.below(64) }
            }
            _ => {
                let value = if is_number { rng.next().to_string().into_bytes() } else { filler(rng.next(), rng.len()) };
                let flags = u32::try_from(rng.below(1 << 20)).expect("it has 20 bits");
                let unique = self.items.get(&key).and_then(|item| item.unique).unwrap_or(u64::MAX);
                // Of a number, the rest of its digits would not always be one.
                let verbs = if is_number { &VERBS[..4] } else { &VERBS };
                Operation::Store { key, verb: verbs[rng.below(verbs.len())], flags, value, unique }
            }
        }
    }

    fn check(&mut self, operation: &Operation, reader: &mut BufReader<TcpStream>) {
        match operation {
            Operation::Get { keys, verb } => self.check_get(keys, verb, reader),
            Operation::Store { key, verb, flags, value, unique } => {
                self.check_store((key, verb), *flags, value, *unique, &line(reader));
            }
            Operation::Count { key, verb, by } => self.check_count(key, verb, *by, &line(reader)),
            Operation::Delete { key } => {
                let answer = line(reader);
                let is_right = answer == "NOT_FOUND" || answer == "DELETED" && self.items.contains_key(key);
                assert!(is_right, "delete {key}: {answer}");
                self.items.remove(key);
            }
            Operation::Touch { key } => {
                let answer = line(reader);
                let is_there = answer == "TOUCHED" && self.items.contains_key(key);
                assert!(is_there || answer == "NOT_FOUND", "touch {key}: {answer}");
                if !is_there {
                    self.items.remove(key);
                }
            }
        }
    }

    /// Of the items that were asked for, those that are there come in their order.
    fn check_get(&mut self, keys: &[String], verb: &str, reader: &mut BufReader<TcpStream>) {
        let mut asked = keys.iter();
        let mut gone = Vec::new();
        loop {
            let Answered { key, flags, unique, value } = match read_part(reader).expect("an answer comes") {
                Part::Item(item) => item,
                Part::Line(line) => {
                    assert_eq!(line, "END", "{verb}");
                    break;
                }
            };
            gone.extend(asked.by_ref().take_while(|asked| **asked != key));
            let expected = self.items.get_mut(&key);
            let expected = expected.unwrap_or_else(|| panic!("{key} is there, and should not be: {}", show(&value)));
            let is_right = (flags, &value) == (expected.flags, &expected.value);
            assert!(
                is_right,
                "{key} is {flags} {}, and should be {} {}",
                show(&value),
                expected.flags,
                show(&expected.value)
            );
            assert_eq!(unique.is_some(), verb == "gets", "{verb} {key}");
            if let (Some(known), Some(told)) = (expected.unique, unique) {
                assert_eq!(known, told, "the unique number of {key}, which nobody has changed");
            }
            expected.unique = unique.or(expected.unique);
            self.hits += 1;
        }
        // One that had to go between two looks of one request may have been found by the first.
        gone.extend(asked);
        gone.into_iter().for_each(|key| drop(self.items.remove(key)));
    }

    fn check_store(&mut self, (key, verb): (&str, &str), flags: u32, value: &[u8], unique: u64, answer: &str) {
        let before = self.items.get(key).cloned();
        let new = |value: Vec<u8>, flags| Some(Expected { flags, value, unique: None });
        let after = match (verb, answer, before) {
            ("set" | "add", "STORED", _) => new(value.to_vec(), flags),
            ("add", "NOT_STORED", Some(old)) => Some(old),
            ("replace", "STORED", Some(_)) => new(value.to_vec(), flags),
            ("append", "STORED", Some(old)) => new([&old.value, value].concat(), old.flags),
            ("prepend", "STORED", Some(old)) => new([value, &old.value].concat(), old.flags),
            ("replace" | "append" | "prepend", "NOT_STORED", _) | ("cas", "NOT_FOUND", _) => None,
            ("cas", "STORED", Some(old)) if old.unique == Some(unique) => new(value.to_vec(), flags),
            ("cas", "EXISTS", Some(old)) if old.unique != Some(unique) => Some(old),
            // What should have been replaced is gone, or the value was refused as it came.
            ("set", "SERVER_ERROR out of memory storing object", _) => None,
            (_, "SERVER_ERROR out of memory storing object", old) => old,
            ("append" | "prepend", "SERVER_ERROR object too large for cache", old) => old,
            (_, _, old) => panic!("{verb} {key} ({unique}): {answer}, where {old:.100?} was"),
        };
        self.keep(key, after);
    }

    fn check_count(&mut self, key: &str, verb: &str, by: u64, answer: &str) {
        let old = self.items.get(key).cloned();
        let after = match (answer, old) {
            ("NOT_FOUND", _) => None,
            ("SERVER_ERROR out of memory storing object", old) => old,
            (answer, Some(old)) => {
                let number: u64 = String::from_utf8_lossy(&old.value).trim_end().parse().expect("it was stored");
                let number = if verb == "incr" { number.wrapping_add(by) } else { number.saturating_sub(by) };
                assert_eq!(answer, number.to_string(), "{verb} {key}");
                let len = old.value.len();
                Some(Expected { flags: old.flags, value: format!("{number:<len$}").into_bytes(), unique: None })
            }
            (answer, None) => panic!("{verb} {key}: {answer}, where nothing was"),
        };
        self.keep(key, after);
    }

    fn keep(&mut self, key: &str, item: Option<Expected>) {
        match item {
            Some(item) => drop(self.items.insert(key.to_owned(), item)),
            None => drop(self.items.remove(key)),
        }
    }
}

const VERBS: [&str; 6] = ["set", "add", "replace", "cas", "append", "prepend"];

fn line(reader: &mut BufReader<TcpStream>) -> String {
    match read_part(reader).expect("an answer comes") {
        Part::Line(line) => line,
        Part::Item(item) => panic!("{} comes, and was not asked for", item.key),
    }
}

fn show(value: &[u8]) -> String {
    format!("{} bytes {:.60}", value.len(), value.escape_ascii().to_string())
}

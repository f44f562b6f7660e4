//! What a client makes of any bytes, however they are split: the check behind a fuzz target and properties.

use sunstar_memcache::{ClientEvent, Endpoint, Limits, RetrievalCommand, StorageCommand, StorageVerb};
use sunstar_packet::Buffer;

use super::numbers::numbers_were_sent;
use super::pieces::{LIMITS, seeded, split};

/// The longest value that a client takes.
const CLIENT_VALUE_BYTES: usize = 60;

thread_local! {
    /// Made once: the frames of an endpoint are a large piece of memory.
    static CLIENTS: Endpoint = Endpoint::new(Limits { item_bytes: CLIENT_VALUE_BYTES, ..LIMITS });
}

/// Reads eight bytes as a seed and the others as input of a client that has asked what the seed says.
pub(crate) fn check_client(bytes: &[u8]) {
    let (seed, input) = seeded(bytes);
    let whole = ask(seed, &[input]);
    whole.iter().for_each(|seen| numbers_were_sent(seen, "Number(", input));
    assert_eq!(ask(seed, &split(input, seed)), whole, "answers split by {seed:#x}");
    assert_eq!(ask(seed, &input.chunks(1).collect::<Vec<_>>()), whole, "answers byte by byte");
    CLIENTS.with(|endpoint| assert_eq!(endpoint.counters().pending_value_bytes, 0, "memory of values is kept"));
}

/// How many requests are sent.
const REQUESTS: u64 = 8;

fn ask(seed: u64, pieces: &[&[u8]]) -> Vec<String> {
    let mut client = CLIENTS.with(Endpoint::connect);
    for place in 0..REQUESTS {
        let asked = match (seed >> (3 * place)) & 7 {
            0 => client.retrieve(RetrievalCommand::GET, [&b"a"[..]]),
            1 => client.retrieve(RetrievalCommand::GETS, [&b"a"[..]]),
            2 => client.delete(b"a", false),
            3 => client.count(sunstar_memcache::Direction::Increment, b"a", 1, false),
            4 => client.touch(b"a", 0, false),
            5 => client.version(),
            6 => client.stats(""),
            _ => {
                let (verb, key) = (StorageVerb::Set, &b"a"[..]);
                client.store(&StorageCommand { verb, key, flags: 0, exptime: 0, noreply: false }, Buffer::from("v"))
            }
        };
        asked.expect("few requests are under way");
    }
    let mut seen = Vec::new();
    let mut answered = 0;
    for piece in pieces {
        client.handle_input(Buffer::copy_from_slice(piece)).expect("all before was looked at");
        while let Some(event) = client.poll_event() {
            match event {
                ClientEvent::Item(item) => {
                    assert!(item.value.len() <= CLIENT_VALUE_BYTES, "a value of {} bytes", item.value.len());
                    let value = item.value.to_vec();
                    seen.push(format!("{:?} {} {:?} {}", item.key, item.flags, item.cas, value.escape_ascii()));
                }
                ClientEvent::Reply(reply) => {
                    answered += 1;
                    assert!(answered <= REQUESTS, "more answers than questions");
                    seen.push(format!("{reply:?}"));
                }
                other => seen.push(format!("{other:?}")),
            }
        }
        assert!(client.is_closed() || client.wants_input(), "it waits for nothing");
    }
    seen.push(format!("{:?} {}", client.handle_end_of_input(), client.is_closed()));
    seen
}

//! What either side makes of any bytes, however they are split: the check behind the fuzz targets and the properties.

use sunstar_memcache::{
    ClientEvent, Endpoint, Limits, MAX_KEY_BYTES, Request, RetrievalCommand, StorageCommand, StorageVerb,
};
use sunstar_packet::Buffer;

/// Small ones, so that inputs of some hundred bytes reach them; but values of a server that count for those under way.
const LIMITS: Limits =
    Limits { line_bytes: 280, item_bytes: 20_000, pending_value_bytes: 1 << 20, requests_in_flight: 32 };

/// The longest value that a client takes.
const CLIENT_VALUE_BYTES: usize = 60;

thread_local! {
    /// Made once: the frames of an endpoint are a large piece of memory.
    static SMALL: Endpoint = Endpoint::new(LIMITS);
    static CLIENTS: Endpoint = Endpoint::new(Limits { item_bytes: CLIENT_VALUE_BYTES, ..LIMITS });
}

/// Reads eight bytes as a seed and the others as input of a server, whole, split by the seed, and byte by byte.
pub(crate) fn check_server(bytes: &[u8]) {
    let (seed, input) = seeded(bytes);
    let whole = serve(&[input]);
    whole.iter().for_each(|seen| numbers_were_sent(seen, " by: ", input));
    assert_eq!(serve(&split(input, seed)), whole, "requests split by {seed:#x}");
    assert_eq!(serve(&input.chunks(1).collect::<Vec<_>>()), whole, "requests byte by byte");
    nothing_is_kept();
}

/// Reads eight bytes as a seed and the others as input of a client that has asked what the seed says.
pub(crate) fn check_client(bytes: &[u8]) {
    let (seed, input) = seeded(bytes);
    let whole = ask(seed, &[input]);
    whole.iter().for_each(|seen| numbers_were_sent(seen, "Number(", input));
    assert_eq!(ask(seed, &split(input, seed)), whole, "answers split by {seed:#x}");
    assert_eq!(ask(seed, &input.chunks(1).collect::<Vec<_>>()), whole, "answers byte by byte");
    nothing_is_kept();
}

/// What was read as a number stands in the input as one.
fn numbers_were_sent(seen: &str, mark: &str, input: &[u8]) {
    let Some((_, rest)) = seen.split_once(mark) else { return };
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    assert!(input.windows(digits.len()).any(|part| part == digits.as_bytes()), "{digits} was made up");
}

fn nothing_is_kept() {
    SMALL.with(|endpoint| assert_eq!(endpoint.counters().pending_value_bytes, 0, "memory of values is kept"));
}

fn serve(pieces: &[&[u8]]) -> Vec<String> {
    let mut connection = SMALL.with(Endpoint::accept);
    let mut seen: Vec<String> = Vec::new();
    let mut keys = String::new();
    for piece in pieces {
        connection.handle_input(Buffer::copy_from_slice(piece)).expect("all before was looked at");
        while let Some(request) = connection.poll_request() {
            check_request(&request);
            // A long line may come in any parts.
            if let Request::Retrieve { command, keys: part, is_last } = &request {
                part.iter().for_each(|key| keys += &format!(" {}", key.escape_ascii()));
                if *is_last {
                    seen.push(format!("{command:?}{}", core::mem::take(&mut keys)));
                }
            } else {
                seen.push(show(&request));
            }
        }
        assert!(connection.is_over() || connection.wants_input(), "it waits for nothing");
    }
    seen.push(format!("{keys} over: {} within: {}", connection.is_over(), connection.is_in_request()));
    seen
}

fn show(request: &Request) -> String {
    match request {
        Request::Store(command, value) => format!("{command:?} {}", value.to_vec().escape_ascii()),
        other => format!("{other:?}"),
    }
}

fn check_request(request: &Request) {
    let key = match request {
        Request::Store(command, value) => {
            assert!(value.len() < LIMITS.item_bytes, "a value of {} bytes", value.len());
            Some(&command.key)
        }
        Request::Delete { key, .. } | Request::Count { key, .. } | Request::Touch { key, .. } => Some(key),
        Request::Retrieve { keys, .. } => {
            assert!(keys.iter().all(|key| (1..=MAX_KEY_BYTES).contains(&key.len())), "a long key");
            None
        }
        _ => None,
    };
    if let Some(key) = key {
        assert!((1..=MAX_KEY_BYTES).contains(&key.len()), "a key of {} bytes", key.len());
        assert!(!key.iter().any(|byte| b" \n".contains(byte)), "a key of several words");
    }
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

fn seeded(bytes: &[u8]) -> (u64, &[u8]) {
    let (seed, input) = bytes.split_at(bytes.len().min(8));
    let mut padded = [0; 8];
    padded[..seed.len()].copy_from_slice(seed);
    (u64::from_le_bytes(padded), input)
}

/// Pieces of lengths that the seed says.
fn split(mut input: &[u8], mut seed: u64) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while !input.is_empty() {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let len = 1 + ((seed >> 33) & if seed >> 63 == 0 { 7 } else { 127 }) as usize;
        let (piece, rest) = input.split_at(len.min(input.len()));
        pieces.push(piece);
        input = rest;
    }
    pieces
}

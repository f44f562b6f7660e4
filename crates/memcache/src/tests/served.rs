//! What a server makes of any bytes, however they are split: the check behind a fuzz target and properties.

use sunstar_memcache::{BinaryRequest, Endpoint, MAX_KEY_BYTES, MetaCommand, Request};
use sunstar_packet::Buffer;

use super::numbers::numbers_were_sent;
use super::pieces::{LIMITS, seeded, split};

thread_local! {
    /// Made once: the frames of an endpoint are a large piece of memory.
    static SMALL: Endpoint = Endpoint::new(LIMITS);
}

/// Reads eight bytes as a seed and the others as input of a server, whole, split by the seed, and byte by byte.
pub(crate) fn check_server(bytes: &[u8]) {
    let (seed, input) = seeded(bytes);
    let whole = serve(&[input]);
    whole.iter().for_each(|seen| numbers_were_sent(seen, " by: ", input));
    assert_eq!(serve(&split(input, seed)), whole, "requests split by {seed:#x}");
    assert_eq!(serve(&input.chunks(1).collect::<Vec<_>>()), whole, "requests byte by byte");
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
        Request::Meta(command, key, value) => format!("{command:?} {key:?} {}", value.to_vec().escape_ascii()),
        Request::Binary(BinaryRequest::Item(command, key, value)) => {
            format!("{command:?} {key:?} {}", value.to_vec().escape_ascii())
        }
        other => format!("{other:?}"),
    }
}

fn check_request(request: &Request) {
    let key = match request {
        Request::Store(command, value) => {
            assert!(value.len() < LIMITS.item_bytes, "a value of {} bytes", value.len());
            Some(&command.key)
        }
        Request::Meta(command, key, value) => {
            assert!(value.len() < LIMITS.item_bytes, "a value of {} bytes", value.len());
            check_meta(command);
            // Those that were sent in base64 may have any bytes.
            Some(key).filter(|_| !command.is_key_binary)
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

/// What stands in the answers of a meta command is bounded, and stands there once.
fn check_meta(command: &MetaCommand) {
    assert!(command.opaque.len() < 32, "much is sent back");
    for (place, flag) in command.order.iter().enumerate() {
        assert!(!command.order[..place].contains(flag), "{} is told twice", flag.escape_ascii());
    }
}

//! What a server makes of any packets of the binary protocol, beside a plain way to read them: the check behind a fuzz target and
//! properties.

use sunstar_memcache::{BinaryRequest, Endpoint, KeyHash, Limits, Operation, Output, Request, Store};
use sunstar_packet::Buffer;

use super::pieces::{LIMITS, seeded, split};

/// Of items that are so small that inputs of some hundred bytes have larger ones, and what follows those.
const SMALL: Limits = Limits { item_bytes: 80, ..LIMITS };

thread_local! {
    /// Made once: the frames of an endpoint are a large piece of memory.
    static ENDPOINTS: [Endpoint; 2] = [SMALL, LIMITS].map(Endpoint::new);
}

/// Reads eight bytes as a seed and the others as input of a server, whole, split by the seed, and byte by byte. The first byte also says
/// how large items may be.
pub(crate) fn check_packets(bytes: &[u8]) {
    let (seed, input) = seeded(bytes);
    let mut input = input.to_vec();
    // So begins who speaks this protocol.
    input.iter_mut().take(1).for_each(|first| *first = 0x80);
    ENDPOINTS.with(|endpoints| {
        let endpoint = &endpoints[usize::from(seed % 2 == 1)];
        let expected = plain(&input, endpoint.limits().item_bytes);
        assert_eq!(serve(endpoint, &[&input]), expected, "packets");
        assert_eq!(serve(endpoint, &split(&input, seed)), expected, "packets split by {seed:#x}");
        assert_eq!(serve(endpoint, &input.chunks(1).collect::<Vec<_>>()), expected, "packets byte by byte");
        assert_eq!(endpoint.counters().pending_value_bytes, 0, "memory of values is kept");
    });
}

fn serve(endpoint: &Endpoint, pieces: &[&[u8]]) -> Vec<String> {
    let mut connection = endpoint.accept();
    let (mut seen, mut store) = (Vec::new(), Store::new(KeyHash::new([1, 2]), 1 << 20));
    let mut output = Output::new(endpoint);
    for piece in pieces {
        connection.handle_input(Buffer::copy_from_slice(piece)).expect("all before was looked at");
        while let Some(request) = connection.poll_request() {
            answer(&request, &mut store, &mut output);
            seen.push(match request {
                Request::Binary(request) => show(&request),
                Request::Quit => "end".to_owned(),
                other => panic!("{other:?} is none of this protocol"),
            });
        }
        assert!(connection.is_over() || connection.wants_input(), "it waits for nothing");
    }
    if connection.is_over() {
        seen.push("over".to_owned());
    }
    let mut out: Vec<Buffer> = Vec::new();
    output.poll_transmit(&mut out);
    check_answers(&out.concat());
    seen
}

fn answer(request: &Request, store: &mut Store, output: &mut Output) {
    match request {
        Request::Binary(BinaryRequest::Item(command, key, value)) => {
            let key = store.key(key);
            store.execute(&Operation::Binary(*command), key, value, 1_700_000_000, output);
        }
        Request::Binary(BinaryRequest::Refused { tag, status, .. }) => output.put_packet_status(*tag, *status),
        _ => {}
    }
}

/// What is answered are packets, whole and one behind the other.
fn check_answers(mut bytes: &[u8]) {
    while let Some((header, rest)) = bytes.split_first_chunk::<24>() {
        let body = u32::from_be_bytes(*header[8..].first_chunk().unwrap()) as usize;
        let inside = usize::from(u16::from_be_bytes([header[2], header[3]])) + usize::from(header[4]);
        assert!(header[0] == 0x81 && header[5] == 0 && inside <= body && body <= rest.len(), "{header:?}");
        bytes = &rest[body..];
    }
    assert!(bytes.is_empty(), "half a header");
}

fn show(request: &BinaryRequest) -> String {
    match request {
        BinaryRequest::Item(command, key, value) => {
            let (key, value) = (key.escape_ascii(), value.to_vec());
            format!("{:02x} {} {key} {}", command.tag.opcode, command.cas, value.escape_ascii())
        }
        BinaryRequest::Stats(tag, key) => format!("{:02x} 0 {} ", tag.opcode, key.escape_ascii()),
        BinaryRequest::Flush { tag, .. }
        | BinaryRequest::Noop(tag)
        | BinaryRequest::Version(tag)
        | BinaryRequest::Quit { tag, .. } => format!("{:02x} 0  ", tag.opcode),
        BinaryRequest::Refused { tag, status, .. } => format!("{:02x} refused {:x}", tag.opcode, status.code()),
    }
}

/// How many extras a command has, whether it has a key (or may have one), and whether it has a value.
fn shape(opcode: u8) -> Option<(&'static [usize], Option<bool>, bool)> {
    Some(match opcode {
        0x00 | 0x09 | 0x0c | 0x0d | 0x04 | 0x14 => (&[0], Some(true), false),
        0x01..=0x03 | 0x11..=0x13 => (&[8], Some(true), true),
        0x05 | 0x06 | 0x15 | 0x16 => (&[20], Some(true), false),
        0x07 | 0x0a | 0x0b | 0x17 => (&[0], Some(false), false),
        0x08 | 0x18 => (&[0, 4], Some(false), false),
        0x0e | 0x0f | 0x19 | 0x1a => (&[0], Some(true), true),
        0x10 => (&[0], None, false),
        0x1b => (&[4], Some(false), false),
        0x1c..=0x1e | 0x23 | 0x24 => (&[4], Some(true), false),
        _ => return None,
    })
}

/// The same, by looking at all of it at once.
fn plain(mut input: &[u8], item_bytes: usize) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some((header, rest)) = input.split_first_chunk::<24>() {
        let opcode = header[1];
        let key_bytes = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let (extras_bytes, body) = (usize::from(header[4]), u32::from_be_bytes(*header[8..].first_chunk().unwrap()));
        let cas = u64::from_be_bytes(*header[16..].first_chunk().unwrap());
        let body = body as usize;
        let mut refuse = |code: u16| seen.push(format!("{opcode:02x} refused {code:x}"));
        if header[0] != 0x80 {
            seen.extend(["end".to_owned(), "over".to_owned()]);
            return seen;
        }
        let shape = shape(opcode);
        let fits = shape.is_some_and(|(extras, key, value)| {
            extras.contains(&extras_bytes)
                && key.is_none_or(|has_key| has_key == (key_bytes > 0))
                && (value || key_bytes + extras_bytes == body)
        });
        // This one is unknown if it does not fit.
        let shape = shape.filter(|_| fits || opcode != 0x1b);
        let fault = match shape {
            _ if key_bytes + extras_bytes > body => Some(0x81),
            _ if key_bytes > 250 => Some(4),
            Some(_) if !fits => Some(4),
            _ => None,
        };
        if let Some(code) = fault {
            refuse(code);
            seen.push("over".to_owned());
            return seen;
        }
        if shape.is_none() {
            refuse(0x81);
        } else if rest.len() < key_bytes + extras_bytes {
            return seen;
        } else {
            let value_bytes = body - key_bytes - extras_bytes;
            let has_value = shape.is_some_and(|(.., has_value)| has_value);
            let has_flags = extras_bytes == 8 && rest[..4] != [0; 4];
            let overhead = if has_flags { 63 } else { 59 };
            if has_value && value_bytes + key_bytes + overhead > item_bytes {
                refuse(3);
            } else if rest.len() < body {
                return seen;
            } else {
                let (key, value) = rest[extras_bytes..body].split_at(key_bytes);
                let cas = if matches!(opcode, 0x07 | 0x08 | 0x0a | 0x0b | 0x10 | 0x17 | 0x18 | 0x1b) { 0 } else { cas };
                seen.push(format!("{opcode:02x} {cas} {} {}", key.escape_ascii(), value.escape_ascii()));
                if matches!(opcode, 0x07 | 0x17) {
                    seen.push("over".to_owned());
                    return seen;
                }
            }
        }
        let Some(next) = rest.get(body..) else { return seen };
        input = next;
    }
    seen
}

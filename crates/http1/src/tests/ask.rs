//! What a client makes of whatever a server sends, however that is split: the check behind the fuzz target and the properties.

use sunstar_http1::{BodyLength, ClientConnection, ClientEvent, Endpoint, Headers, Response};
use sunstar_packet::Buffer;

use super::seen::{LIMITS, Seen, see_body, seeded, split, trailers};

thread_local! {
    /// Made once: the frames of an endpoint are a large piece of memory.
    static SMALL: Endpoint = Endpoint::new(LIMITS);
}

/// How many requests are sent.
const REQUESTS: usize = 4;

/// Reads eight bytes as a seed and the others as input of a client, whole, split by the seed, and byte by byte.
///
/// The seed says also what is asked, and whether all at once. All must see the same, and no more than the limits allow.
pub(super) fn check(bytes: &[u8]) {
    let (seed, input) = seeded(bytes);
    let whole = ask(seed, &[input]);
    assert_eq!(ask(seed, &split(input, seed)), whole, "responses split by {seed:#x}");
    assert_eq!(ask(seed, &input.chunks(1).collect::<Vec<_>>()), whole, "responses byte by byte");
}

/// Hands the pieces to a client that asks as the seed says, and then ends the input.
fn ask(seed: u64, pieces: &[&[u8]]) -> Vec<Seen> {
    let mut asking = Asking::new(seed);
    for piece in pieces {
        if asking.client.wants_input() {
            asking.client.handle_input(Buffer::copy_from_slice(piece)).expect("it said so");
        }
        asking.see_all();
        assert!(asking.client.is_closed() || asking.client.wants_input(), "it waits for nothing");
    }
    asking.client.handle_end_of_input();
    asking.see_all();
    assert!(asking.client.is_closed() && asking.client.in_flight() == 0);
    asking.seen
}

struct Asking {
    client: ClientConnection,
    /// Two bits for each request that is not sent yet.
    methods: u64,
    left: usize,
    answered: usize,
    seen: Vec<Seen>,
    /// Since the last final response.
    interim: usize,
    body_bytes: usize,
}

impl Asking {
    fn new(seed: u64) -> Self {
        let client = SMALL.with(Endpoint::connect);
        let mut asking = Self {
            client,
            methods: seed >> 1,
            left: REQUESTS,
            answered: 0,
            seen: Vec::new(),
            interim: 0,
            body_bytes: 0,
        };
        let at_once = if seed & 1 == 0 { REQUESTS } else { 1 };
        (0..at_once).for_each(|_| asking.next());
        asking
    }

    /// Sends another request, if one is left and may be sent.
    fn next(&mut self) {
        let Some(left) = self.left.checked_sub(1) else { return };
        let method = ["GET", "HEAD", "POST", "GET"][(self.methods & 3) as usize];
        let Ok(request) = self.client.request(method, "/", "") else { return };
        request.send("");
        (self.left, self.methods) = (left, self.methods >> 2);
        self.client.poll_transmit(&mut Vec::new());
    }

    fn see_all(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match event {
                ClientEvent::Interim(head) => {
                    self.interim += 1;
                    assert!(head.status().is_interim() && self.interim <= LIMITS.interim_responses);
                    self.see_head(&head);
                }
                ClientEvent::Response(head) => {
                    assert!(!head.status().is_interim());
                    (self.interim, self.body_bytes) = (0, 0);
                    self.answered += 1;
                    assert!(self.answered + self.left <= REQUESTS, "more answers than questions");
                    self.see_head(&head);
                    if head.body() == BodyLength::Empty {
                        self.next();
                    }
                }
                ClientEvent::Body(body) => {
                    self.body_bytes += body.len();
                    assert!(self.body_bytes as u64 <= LIMITS.body_bytes, "{} bytes of a body", self.body_bytes);
                    see_body(&mut self.seen, &body);
                }
                ClientEvent::End => {
                    let fields = self.client.trailers();
                    let bytes: usize =
                        fields.into_iter().flat_map(Headers::iter).map(|(name, value)| name.len() + value.len()).sum();
                    assert!(bytes <= LIMITS.trailer_bytes, "{bytes} bytes of trailers");
                    self.seen.push(Seen::End(trailers(fields)));
                    self.next();
                }
                ClientEvent::Error(error) => self.seen.push(Seen::Error(error)),
            }
        }
    }

    fn see_head(&mut self, head: &Response) {
        let headers = head.headers();
        assert!(headers.len() <= LIMITS.headers, "{} fields", headers.len());
        assert!(headers.head().len() <= LIMITS.start_line_bytes + LIMITS.header_bytes);
        for (name, value) in headers.iter() {
            assert!(!name.is_empty() && !name.iter().chain(value).any(|byte| b"\r\n\0".contains(byte)));
        }
        let keeps_alive = head.keeps_alive();
        self.seen.push(Seen::Head(format!("{head:?} {:?} {keeps_alive}", head.reason().escape_ascii().to_string())));
    }
}

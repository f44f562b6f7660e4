//! Properties of any input, and of any conversation.

use proptest::collection::vec;
use proptest::prelude::*;
use sunstar_packet::Buffer;

use super::{ask, serve};
use crate::{BodyLength, ClientConnection, ClientEvent, Connection, Endpoint, Event, HeaderName, Limits, Status};

/// What requests and responses, and what is wrong with them, are made of.
const FRAGMENTS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /p HTTP/1.1\r\nHost: a\r\n",
    "HEAD /h HTTP/1.0\r\n",
    "GET http://b/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.0 304 Not Modified\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Connection: close\r\n",
    "Expect: 100-continue\r\n",
    "Host: b\r\n",
    "X: y\r\n",
    "\r\n",
    "hello",
    "5\r\nhello\r\n",
    "14;x=y\r\n01234567890123456789\r\n",
    "0\r\n\r\n",
    "0\r\nTrailer: x\r\n\r\n",
    "0\r\nDigest: x\r\nHost:\r\n\r\n",
    "\n",
    "\r",
    " ",
    ":",
    "\0",
    "x",
    "f",
];

fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        20 => prop::sample::select(FRAGMENTS).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..5),
        1 => (any::<u8>(), 1..200_usize).prop_map(|(byte, count)| std::vec![byte; count]),
    ];
    (any::<[u8; 8]>(), vec(fragment, 0..20)).prop_map(|(seed, fragments)| [&seed[..], &fragments.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn property_fragments_are_seen_alike_however_split(bytes in fragments()) {
        serve::check(&bytes);
        ask::check(&bytes);
    }

    #[test]
    fn property_any_bytes_are_seen_alike_however_split(bytes in vec(any::<u8>(), 0..200)) {
        serve::check(&bytes);
        ask::check(&bytes);
    }

    #[test]
    fn property_framing_is_what_a_model_says(head in Head::any()) {
        head.check();
    }

    #[test]
    fn property_conversations_arrive_as_they_were_meant(
        messages in vec(Message::any(), 1..8),
        splits in vec(1..3000_usize, 1..20),
    ) {
        converse(&messages, &splits);
    }
}

/// The fields about framing that a request may have, and what RFC 9112 says about them in words of its own.
#[derive(Clone, Debug)]
struct Head {
    http11: bool,
    hosts: usize,
    connection: Vec<&'static str>,
    lengths: Vec<&'static str>,
    codings: Vec<&'static str>,
}

impl Head {
    fn any() -> impl Strategy<Value = Self> {
        let some = |values: &'static [&'static str]| vec(prop::sample::select(values), 0..2);
        (
            any::<bool>(),
            prop_oneof![1 => Just(0_usize), 6 => Just(1), 1 => Just(2)],
            vec(prop::sample::select(&["close", "keep-alive", "Keep-Alive, x", "x"][..]), 0..3),
            some(&["0", "5", "05", "", "a"]),
            some(&["chunked", "CHUNKED", "gzip", "gzip,chunked", "chunked,chunked"]),
        )
            .prop_map(|(http11, hosts, connection, lengths, codings)| Self {
                http11,
                hosts,
                connection,
                lengths,
                codings,
            })
    }

    fn text(&self) -> String {
        let mut text = format!("POST / HTTP/1.{}\r\n", u8::from(self.http11));
        let fields = [("Connection", &self.connection), ("content-length", &self.lengths)];
        for (name, values) in fields.into_iter().chain([("Transfer-Encoding", &self.codings)]) {
            values.iter().for_each(|value| text += &format!("{name}: {value}\r\n"));
        }
        text += &"Host: a\r\n".repeat(self.hosts);
        text + "\r\n"
    }

    /// How long the body is, if the request is to be accepted.
    fn body(&self) -> Option<BodyLength> {
        let host_fits = self.hosts == 1 || (self.hosts == 0 && !self.http11);
        let body = match (&self.lengths[..], &self.codings[..]) {
            ([], []) | (["0"], []) => BodyLength::Empty,
            (["5" | "05"], []) => BodyLength::Known(5),
            ([], ["chunked" | "CHUNKED"]) if self.http11 => BodyLength::Chunked,
            _ => return None,
        };
        host_fits.then_some(body)
    }

    fn persists(&self) -> bool {
        let asked = self.connection.iter().any(|value| value.to_lowercase().contains("keep-alive"));
        (self.http11 || asked) && !self.connection.contains(&"close")
    }

    fn check(&self) {
        let mut connection = Endpoint::default().accept();
        connection.handle_input(Buffer::from(self.text().into_bytes())).unwrap();
        match (connection.poll_event(), self.body()) {
            (Some(Event::Error(_)), None) => {}
            (Some(Event::Request(request)), Some(body)) => {
                assert_eq!(request.body(), body, "{self:?}");
                assert_eq!(request.keeps_alive(), self.persists(), "{self:?}");
            }
            (event, _) => panic!("{event:?} for {self:?}"),
        }
    }
}

/// A body and how it is sent.
#[derive(Clone, Debug)]
struct Message {
    method: &'static str,
    value: String,
    parts: Vec<Vec<u8>>,
    is_chunked: bool,
    is_answered_in_chunks: bool,
}

impl Message {
    fn any() -> impl Strategy<Value = Self> {
        let size = prop_oneof![4 => 0..40_usize, 1 => 1000..1100_usize, 1 => 0..5000_usize];
        let part = (any::<u8>(), size).prop_map(|(byte, count)| std::vec![byte; count]);
        (
            prop::sample::select(&["GET", "POST", "HEAD", "PUT", "BREW"][..]),
            "[a-z]{0,20}",
            vec(part, 0..4),
            any::<bool>(),
            any::<bool>(),
        )
            .prop_map(|(method, value, parts, is_chunked, is_answered_in_chunks)| Self {
                method,
                value,
                parts,
                is_chunked,
                is_answered_in_chunks,
            })
    }

    fn body(&self) -> Vec<u8> {
        self.parts.concat()
    }
}

const ANY: HeaderName<'static> = HeaderName::constant("X-Any");

/// Sends all messages at once, and lets the server answer each with the same body and field.
fn converse(messages: &[Message], splits: &[usize]) {
    let limits = Limits { pipelined_requests: 3, input_buffers: 4, ..Limits::DEFAULT };
    let endpoint = Endpoint::new(limits);
    let (mut client, mut server) = (endpoint.connect(), endpoint.accept());
    for message in messages {
        let mut request = client.request(message.method, "/", "a").unwrap();
        request.header(ANY, &message.value).unwrap();
        let length = (!message.is_chunked).then(|| message.body().len() as u64);
        request.stream(length);
        for part in &message.parts {
            client.send_body(Buffer::copy_from_slice(part)).unwrap();
        }
        client.end_body().unwrap();
    }
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    client.poll_transmit(&mut to_server);
    let mut echo = Echo::default();
    for piece in pieces(&to_server.concat(), splits) {
        let mut piece = Some(piece);
        while let Some(bytes) = piece.take() {
            match server.handle_input(bytes) {
                Ok(()) => {}
                Err(full) => piece = Some(full.0),
            }
            echo.serve(&mut server, messages);
            server.poll_transmit(&mut to_client);
        }
    }
    assert_eq!(echo.served, messages.len(), "requests served");
    assert!(server.is_idle() || server.in_flight() == 0);
    let mut splits = splits.to_vec();
    splits.reverse();
    receive(&mut client, &pieces(&to_client.concat(), &splits), messages);
}

/// Cuts bytes into buffers of the lengths given, over and over.
fn pieces(bytes: &[u8], splits: &[usize]) -> Vec<Buffer> {
    let whole = Buffer::copy_from_slice(bytes);
    let (mut at, mut pieces) = (0, Vec::new());
    for length in splits.iter().cycle() {
        let end = whole.len().min(at + length);
        pieces.push(whole.slice(at..end));
        at = end;
        if at == whole.len() {
            break;
        }
    }
    pieces
}

#[derive(Default)]
struct Echo {
    served: usize,
    body: Vec<u8>,
}

impl Echo {
    fn serve(&mut self, server: &mut Connection, messages: &[Message]) {
        while let Some(event) = server.poll_event() {
            match event {
                Event::Request(request) => {
                    let message = &messages[self.served];
                    assert_eq!(request.method_name(), message.method.as_bytes());
                    assert_eq!(request.headers().get("x-any"), Some(message.value.as_bytes()));
                    if request.body() == BodyLength::Empty {
                        self.answer(server, message);
                    }
                }
                Event::Body(part) => self.body.extend_from_slice(&part),
                Event::End => self.answer(server, &messages[self.served]),
                Event::Error(error) => panic!("{error}"),
            }
        }
    }

    fn answer(&mut self, server: &mut Connection, message: &Message) {
        let body = std::mem::take(&mut self.body);
        assert_eq!(body, message.body());
        self.served += 1;
        let mut response = server.respond(Status::OK, None).unwrap();
        response.header(ANY, &message.value).unwrap();
        if message.is_answered_in_chunks {
            response.stream(None);
            for part in &message.parts {
                server.send_body(Buffer::copy_from_slice(part)).unwrap();
            }
            server.end_body().unwrap();
        } else {
            response.send(body);
        }
    }
}

fn receive(client: &mut ClientConnection, pieces: &[Buffer], messages: &[Message]) {
    let (mut bodies, mut heads) = (Vec::new(), 0);
    for piece in pieces {
        client.handle_input(piece.clone()).unwrap();
        while let Some(event) = client.poll_event() {
            match event {
                ClientEvent::Response(response) => {
                    assert_eq!(response.headers().get("x-any"), Some(messages[heads].value.as_bytes()));
                    heads += 1;
                    bodies.push(Vec::new());
                }
                ClientEvent::Body(part) => bodies.last_mut().expect("a head came before").extend_from_slice(&part),
                ClientEvent::End => {}
                other => panic!("{other:?}"),
            }
        }
    }
    let is_head = |message: &&Message| message.method == "HEAD";
    let expected: Vec<_> =
        messages.iter().map(|message| if is_head(&message) { Vec::new() } else { message.body() }).collect();
    assert!(bodies == expected, "bodies differ");
    assert_eq!(client.in_flight(), 0);
}

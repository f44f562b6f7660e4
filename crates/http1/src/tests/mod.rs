//! Tests of the crate as a whole: scripts, tables, and properties.

mod ask;
mod client;
mod corpus;
mod limits;
mod properties;
mod refused;
mod requests;
mod responses;
mod seen;
mod serve;
mod smuggling;

use sunstar_packet::Buffer;

use crate::{BodyLength, Connection, Endpoint, Error, Event, Limits, Request, Status};

/// A connection that is spoken to by a script.
struct Script {
    endpoint: Endpoint,
    connection: Connection,
}

impl Script {
    fn new() -> Self {
        Self::with(Limits::DEFAULT)
    }

    fn with(limits: Limits) -> Self {
        let endpoint = Endpoint::new(limits);
        Self { connection: endpoint.accept(), endpoint }
    }

    /// The client sends.
    fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.connection.handle_input(Buffer::copy_from_slice(bytes.as_ref())).expect("there is room");
        self
    }

    /// A request must have arrived.
    fn request(&mut self) -> Request {
        match self.connection.poll_event() {
            Some(Event::Request(request)) => request,
            other => panic!("expected a request, not {other:?}"),
        }
    }

    /// A request of this target, without body, must have arrived.
    fn expect_request(&mut self, target: &str) -> &mut Self {
        let request = self.request();
        assert_eq!(request.target(), target.as_bytes());
        assert_eq!(request.body(), BodyLength::Empty);
        self
    }

    fn expect_body(&mut self, bytes: &str) -> &mut Self {
        match self.connection.poll_event() {
            Some(Event::Body(body)) => assert_eq!(body, &bytes),
            other => panic!("expected a body, not {other:?}"),
        }
        self
    }

    fn expect_end(&mut self) -> &mut Self {
        let event = self.connection.poll_event();
        assert!(matches!(event, Some(Event::End)), "expected the end of a body, not {event:?}");
        self
    }

    fn expect_error(&mut self, error: Error) -> &mut Self {
        match self.connection.poll_event() {
            Some(Event::Error(other)) => assert_eq!(other, error),
            other => panic!("expected {error:?}, not {other:?}"),
        }
        self
    }

    fn expect_nothing(&mut self) -> &mut Self {
        let event = self.connection.poll_event();
        assert!(event.is_none(), "expected nothing, not {event:?}");
        self
    }

    /// Answers the oldest request with 200.
    fn answer(&mut self, body: &'static str) -> &mut Self {
        self.connection.respond(Status::OK, None).expect("a request waits").send(body);
        self
    }

    /// The client receives exactly this.
    fn expect_output(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        let bytes = self.transmit().concat();
        assert_eq!(bytes.escape_ascii().to_string(), text.as_ref().escape_ascii().to_string());
        self
    }

    fn transmit(&mut self) -> Vec<Buffer> {
        let mut out = Vec::new();
        let count = self.connection.poll_transmit(&mut out);
        assert_eq!(count, out.iter().map(|buffer| buffer.len()).sum::<usize>());
        assert!(!self.connection.has_output() && self.connection.output_bytes() == 0);
        out
    }

    fn end_of_input(&mut self) -> &mut Self {
        self.connection.handle_end_of_input();
        self
    }

    fn expect_open(&mut self) -> &mut Self {
        assert!(!self.connection.should_close() && self.connection.wants_input());
        self
    }

    fn expect_closed(&mut self) -> &mut Self {
        assert!(self.connection.should_close() && !self.connection.wants_input());
        assert!(self.connection.poll_event().is_none());
        self
    }
}

const OK_HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const OK_HELLO_CLOSE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";

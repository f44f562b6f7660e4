//! Requests, for the tables.

use sunstar_http1::{Endpoint, Event, Limits, Request};
use sunstar_packet::Buffer;

/// A request of these fields.
pub(crate) fn request(fields: &[(&str, &str)]) -> Request {
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut connection = Endpoint::new(Limits::DEFAULT).accept();
    let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    connection.handle_input(Buffer::from(bytes.into_bytes())).expect("there is room");
    let Some(Event::Request(request)) = connection.poll_event() else { panic!("{fields:?} are no fields") };
    request
}

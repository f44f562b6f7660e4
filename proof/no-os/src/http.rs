//! Checks of HTTP/1.

use alloc::vec::Vec;

use sunstar_http1::{ClientEvent, Date, Endpoint, Event, Status};
use sunstar_packet::Buffer;

pub(crate) fn dates_are_written() -> bool {
    Date::from_unix_seconds(784_111_777).as_bytes() == b"Sun, 06 Nov 1994 08:49:37 GMT"
}

pub(crate) fn requests_are_answered() -> bool {
    conversation().is_some_and(|body| body == b"hello")
}

/// The body with which a server answers a client.
fn conversation() -> Option<Buffer> {
    let endpoint = Endpoint::default();
    let (mut client, mut server) = (endpoint.connect(), endpoint.accept());
    let mut wire: Vec<Buffer> = Vec::new();
    client.request("GET", "/hello", "me").ok()?.send("");
    client.poll_transmit(&mut wire);
    for buffer in wire.drain(..) {
        server.handle_input(buffer).ok()?;
    }
    match server.poll_event()? {
        Event::Request(request) if request.path() == b"/hello" => server.respond(Status::OK, None).ok()?.send("hello"),
        _ => return None,
    }
    server.poll_transmit(&mut wire);
    for buffer in wire.drain(..) {
        client.handle_input(buffer).ok()?;
    }
    match (client.poll_event()?, client.poll_event()?) {
        (ClientEvent::Response(response), ClientEvent::Body(body)) if response.status() == Status::OK => Some(body),
        _ => None,
    }
}

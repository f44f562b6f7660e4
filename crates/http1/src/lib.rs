//! HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112) as pure state machines: bytes in, requests out; responses in, bytes out.
//!
//! Nothing here reads a clock, does input or output, or waits. A server is a loop around a [`Connection`], and this is
//! all of it, here between a client and a server in one thread:
//!
//! ```
//! use sunstar_http1::{Connection, Date, Endpoint, Error, Event, HeaderName, Limits, Method, Request, Status};
//! use sunstar_packet::Buffer;
//!
//! /// Hands on what has arrived, and answers what is to be sent.
//! fn serve(connection: &mut Connection, arrived: Buffer, now: &Date) -> Vec<Buffer> {
//!     let mut out = Vec::new();
//!     connection.handle_input(arrived).expect("one reads only while the connection wants input");
//!     loop {
//!         while let Some(event) = connection.poll_event() {
//!             match event {
//!                 Event::Request(request) => answer(connection, &request, now),
//!                 Event::Body(_) | Event::End => {} // of no interest to this server
//!                 Event::Error(error) => refuse(connection, error, now),
//!             }
//!         }
//!         // Requests may have been held back until there is room for their answers.
//!         if connection.poll_transmit(&mut out) == 0 {
//!             return out;
//!         }
//!     }
//! }
//!
//! fn answer(connection: &mut Connection, request: &Request, now: &Date) {
//!     let found = request.path() == b"/";
//!     let status = if found { Status::OK } else { Status::NOT_FOUND };
//!     let mut response = connection.respond(status, Some(now)).expect("a request waits");
//!     response.header(HeaderName::CONTENT_TYPE, "text/plain").expect("a good value");
//!     response.send(if found { "hello, world" } else { "no such thing" });
//! }
//!
//! fn refuse(connection: &mut Connection, error: Error, now: &Date) {
//!     // Nobody waits if a body breaks off whose request was answered already.
//!     if let Ok(response) = connection.respond(error.status(), Some(now)) {
//!         response.send("");
//!     }
//! }
//!
//! let endpoint = Endpoint::new(Limits::DEFAULT); // one per shard
//! let mut connection = endpoint.accept();
//! let now = Date::from_unix_seconds(784_111_777);
//! let out = serve(&mut connection, Buffer::from("GET / HTTP/1.1\r\nHost: me\r\n\r\n"), &now);
//! assert_eq!(
//!     out.concat(),
//!     b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n\
//!       Content-Length: 12\r\n\r\nhello, world"
//! );
//! assert!(connection.wants_input() && !connection.should_close());
//! ```
//!
//! After it, a server reads while [`Connection::wants_input`], tells the end by [`Connection::handle_end_of_input`], and closes when
//! [`Connection::should_close`]. Requests are answered in the order in which they came; how many wait is bounded.
//!
//! # Where bytes lie
//!
//! A head that lies in one received buffer is parsed where it is: [`Headers`] are ranges of it. Only one that is spread over several
//! buffers is put together, which [`Counters`] tell. Bodies come as parts of the received buffers.
//!
//! Heads of responses and bodies of up to [`COPIED_BODY_BYTES`] are written one behind the other into frames that the
//! [`Endpoint`] lends, so that small responses to pipelined requests leave in one piece. Larger bodies leave in their own
//! buffers. In steady state no request costs an allocation; a connection without output has no frame.
//!
//! # Safety in front of strangers
//!
//! What two programs could understand differently is refused, see [`Error`]; all that a peer may make us keep is bounded by
//! [`Limits`]; the work for a head is proportional to its length, however it is split. Timeouts are the server's business;
//! [`Connection::awaits`] says what is waited for.
//!
//! # The other side
//!
//! A [`ClientConnection`] is the client's side. It takes any number of requests; whose responses went wrong, or that has
//! anything left in it when a response was read ([`ClientConnection::is_idle`]), is of no use for another one.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;
// The tests are used by the fuzz targets too, which know the crate by its name.
#[cfg(test)]
extern crate self as sunstar_http1;

mod body;
mod chunked;
mod client;
mod date;
mod endpoint;
mod error;
mod fields;
mod framing;
mod head;
mod headers;
mod input;
mod limits;
mod output;
mod request;
mod respond;
mod response;
mod server;
mod status;
mod text;
mod trailers;

#[cfg(test)]
mod tests;

pub use client::{ClientConnection, ClientEvent, RequestError, RequestWriter};
pub use date::Date;
pub use endpoint::{Counters, Endpoint};
pub use error::Error;
pub use framing::{BodyLength, Version};
pub use headers::{BadValue, HeaderLines, HeaderName, Headers};
pub use input::InputFull;
pub use limits::{Limits, MAX_HEAD_BYTES, MAX_HEADERS};
pub use output::{BodyError, COPIED_BODY_BYTES};
pub use request::{Method, Request};
pub use respond::{RespondError, ResponseWriter};
pub use response::Response;
pub use server::{Awaits, Connection, Event};
pub use status::Status;

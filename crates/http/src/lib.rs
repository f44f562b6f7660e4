//! HTTP servers: a thin loop around the state machine of `sunstar_http1`, over whatever network the shard has.
//!
//! A [`Server`] belongs to one shard. Started on all of them by [`Sharded`](sunstar_executor::Sharded), they share an
//! address:
//!
//! ```no_run
//! use sunstar_executor::{Sharded, current};
//! use sunstar_http::{Error, Exchange, Request, Server, Status};
//! use sunstar_net::ListenerOptions;
//!
//! async fn greet(request: Request, exchange: &mut Exchange<'_>) -> Result<(), Error> {
//!     match request.path() {
//!         b"/" => exchange.respond(Status::OK)?.send("hello, world"),
//!         b"/shard" => exchange.respond(Status::OK)?.send(current::shard_id().to_string().into_bytes()),
//!         _ => exchange.respond(Status::NOT_FOUND)?.send("no such thing"),
//!     }
//!     Ok(())
//! }
//!
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! let address = std::net::SocketAddr::from(([127, 0, 0, 1], 10000));
//! let servers = Sharded::start(|| async { Server::new(greet) }).await?;
//! for listening in servers.map(move |server| async move { server.listen(address, ListenerOptions::default()).await }).await? {
//!     listening?;
//! }
//! // … and when it is time to go:
//! servers.stop().await?;
//! # Ok(()) }
//! ```
//!
//! A server stops in order: it lets no more connections in, serves those that are established, answers every request whose bytes
//! have arrived, and closes.
//!
//! It is made to stand in front of strangers: [`ServerOptions`] bound what clients may ask for ([`Limits`]), how long they may take
//! ([`Timeouts`]), and how many there are.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod clock;
mod connection;
mod error;
mod exchange;
mod options;
mod server;
#[cfg(test)]
mod tests;
mod timeouts;
mod waits;
mod watch;

pub use error::Error;
pub use exchange::Exchange;
pub use options::ServerOptions;
pub use server::{Server, ServerStats};
pub use sunstar_http1::{HeaderName, Headers, Limits, Method, Request, ResponseWriter, Status, Version};
pub use timeouts::{Pace, Timeouts};

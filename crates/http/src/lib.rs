//! HTTP servers and [clients](client): thin loops around the state machines of `sunstar_http1`, over whatever network the shard
//! has.
//!
//! A [`Server`] belongs to one shard. Started on all of them by [`Sharded`](sunstar_executor::Sharded), they share an
//! address:
//!
//! ```no_run
//! use sunstar_executor::{Sharded, current};
//! use sunstar_http::{Error, Exchange, Request, RouteError, Router, Server, Status};
//! use sunstar_net::ListenerOptions;
//!
//! async fn hello(_: Request, exchange: &mut Exchange<'_>) -> Result<(), Error> {
//!     exchange.respond(Status::OK)?.send("hello, world");
//!     Ok(())
//! }
//!
//! async fn shard(_: Request, exchange: &mut Exchange<'_>) -> Result<(), Error> {
//!     exchange.respond(Status::OK)?.send(current::shard_id().to_string().into_bytes());
//!     Ok(())
//! }
//!
//! fn routes() -> Result<Router, RouteError> {
//!     let mut router = Router::new();
//!     router.get("/", hello)?.get("/shard", shard)?;
//!     Ok(router)
//! }
//!
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! let address = std::net::SocketAddr::from(([127, 0, 0, 1], 10000));
//! let servers = Sharded::start(|| async { Server::new(routes().expect("the routes are well-formed")) }).await?;
//! for listening in servers.map(move |server| async move { server.listen(address, ListenerOptions::default()).await }).await? {
//!     listening?;
//! }
//! // … and when it is time to go:
//! servers.stop().await?;
//! # Ok(()) }
//! ```
//!
//! A [`Router`] finds the [`Handler`] of a request by its path and method. Where there is but one handler, it can be the server's
//! instead. [`AccessLog`] writes a line about each request.
//!
//! A server stops in order: it lets no more connections in, serves those that are established, answers every request whose bytes
//! have arrived, and closes.
//!
//! It is made to stand in front of strangers: [`ServerOptions`] bound what clients may ask for ([`Limits`]), how long they may take
//! ([`Timeouts`]), and how many there are.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;
// The tests of the router are used by a fuzz target too, which knows the crate by its name.
#[cfg(test)]
extern crate self as sunstar_http;

#[cfg(feature = "compression")]
extern crate std;

mod access_log;
pub mod client;
mod clock;
#[cfg(feature = "compression")]
pub mod compress;
mod connection;
mod ears;
mod error;
mod exchange;
#[cfg(feature = "files")]
pub mod files;
mod handler;
mod machine;
mod metrics;
mod options;
mod router;
mod server;
#[cfg(test)]
mod tests;
mod timeouts;
mod waits;
mod watch;

pub use access_log::{AccessFormat, AccessLog, MAX_LOGGED_BYTES};
pub use error::Error;
pub use exchange::{Exchange, ResponseWriter};
pub use handler::Handler;
pub use metrics::serve_metrics;
pub use options::ServerOptions;
pub use router::{MAX_PARAMETERS, MAX_SEGMENTS, ParamError, Params, RouteError, RouteRule, Router};
pub use server::{Server, ServerStats};
pub use sunstar_http1::{HeaderLines, HeaderName, Headers, Limits, Method, Request, Status, Version};
pub use timeouts::{Pace, Timeouts};

//! HTTP clients: a shard's connections to servers, kept and shared by its requests.
//!
//! ```no_run
//! use sunstar_http::client::{Client, ClientError};
//!
//! # async fn ask() -> Result<(), ClientError> {
//! let client = Client::default();
//! let mut response = client.get("http://127.0.0.1:10000/").header("Accept", "text/plain").send().await?;
//! assert_eq!(response.status().code(), 200);
//! let page = response.collect(1 << 20).await?;
//!
//! // Bodies of any size, both ways, a piece at a time:
//! let mut upload = client.request("POST", "http://127.0.0.1:10000/up").stream(None).await?;
//! upload.send_body(page).await?;
//! let mut response = upload.finish().await?;
//! while let Some(bytes) = response.body().await? {
//!     println!("{} bytes", bytes.len());
//! }
//! # Ok(()) }
//! ```
//!
//! # Connections
//!
//! A connection serves one request at a time. When its response was read to the end it is kept for the next request to the same
//! host; the one that was used last is used first. How many there are, and how many are kept, is bounded per host and for the
//! client as a whole ([`ClientOptions`]). At the bound requests wait, in the order in which they came, up to a number of them;
//! further ones fail with [`ClientError::Busy`]. While requests to several hosts wait for a place, a connection that becomes free is
//! given to the oldest of them, and closed if that is for another host.
//!
//! What is kept is watched: a connection that the server closes is dropped, and so is one on which bytes come that nothing was
//! asked for, as nobody could know what the next response is the answer to.
//!
//! # When things go wrong
//!
//! Every wait is bounded by a timeout. Requests that a failing connection may not have served are sent again where that does no
//! harm, see [`RetryPolicy`]. Dropping anything at any time is safe: what is not left in order is closed.
//!
//! Redirects are not followed, nor are bodies decompressed.

mod allowance;
mod connector;
mod error;
mod exchange;
mod keep_alive;
mod metrics;
#[cfg(test)]
pub(crate) mod naive_uri;
mod options;
mod pool;
mod request;
mod response;
mod stats;
#[cfg(test)]
mod tests;
mod transport;
mod uri;
mod watch;

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::fmt;

pub use connector::{Connecting, Connector, Direct};
pub use error::{ClientError, Phase};
pub use options::{ClientOptions, RetryPolicy};
pub use request::{RequestBuilder, Upload};
pub use response::Response;
pub use stats::ClientStats;
pub use uri::{Authority, Scheme, Uri, UriError};

use pool::Pool;
use sunstar_executor::Service;
use sunstar_metrics::RegisterError;

/// A client of one shard. Clones share its connections.
///
/// When the last clone and the last request are gone, the kept connections are closed.
#[derive(Clone)]
pub struct Client(Rc<Pool>);

impl Client {
    /// A client that connects by itself, to addresses and `localhost`; see [`Direct`].
    pub fn new(options: ClientOptions) -> Self {
        Self::with_connector(options, Direct)
    }

    /// A client with a connector of its own.
    pub fn with_connector(options: ClientOptions, connector: impl Connector) -> Self {
        Self(Pool::new(options, Box::new(connector)))
    }

    /// Begins a request without body. Methods are told apart by case.
    pub fn request<'a>(&'a self, method: &'a str, uri: &str) -> RequestBuilder<'a> {
        RequestBuilder::new(self, method, uri)
    }

    /// [`Client::request`] by `GET`.
    pub fn get(&self, uri: &str) -> RequestBuilder<'_> {
        self.request("GET", uri)
    }

    /// [`Client::request`] by `POST`.
    pub fn post(&self, uri: &str) -> RequestBuilder<'_> {
        self.request("POST", uri)
    }

    /// What the client has done, and what it has now.
    pub fn stats(&self) -> ClientStats {
        self.0.stats()
    }

    /// Shows what the client does in the metrics of its shard, as `sunstar_http_client_…` with the label `client` and this name,
    /// for as long as the client is there. A client has one name, the first.
    ///
    /// # Errors
    /// If a client of the shard has this name already.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn publish(&self, name: &str) -> Result<(), RegisterError> {
        let registration = metrics::publish(&self.0, name)?;
        // Of two names the first one counts.
        let _ = self.0.published.set(registration);
        Ok(())
    }
}

/// One client per shard by [`Sharded`](sunstar_executor::Sharded). Stopping it closes the connections that are kept; requests
/// under way go on.
impl Service for Client {
    async fn stop(&self) {
        self.0.close_idle();
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new(ClientOptions::default())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

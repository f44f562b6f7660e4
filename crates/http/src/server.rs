//! A shard's server: accepts, serves, stops.

use alloc::rc::Rc;
use core::cell::{Cell, OnceCell};
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::time::Duration;

use sunstar_executor::Instant;
use sunstar_executor::combine::with_deadline;
use sunstar_executor::sync::{AbortSource, Gate, GateHolder};
use sunstar_executor::timer::{now, sleep_until};
use sunstar_executor::{Service, TaskBuilder, maybe_yield};
use sunstar_http1::{Endpoint, Limits};
use sunstar_metrics::RegisterError;
use sunstar_net::{Address, Listener, ListenerOptions, Stream};

use crate::access_log::AccessLog;
use crate::clock::DateClock;
use crate::connection::Connection;
use crate::error::Error;
use crate::handler::Handler;
use crate::metrics::{self, Figures};

/// When the server stops, clients have so long to send the rest of a request that is being served, and to take responses.
const GRACE: Duration = Duration::from_secs(5);

/// What a shard's connections share.
pub(crate) struct Shared {
    pub(crate) endpoint: Endpoint,
    pub(crate) clock: DateClock,
    /// Empty while requests are not logged.
    pub(crate) access_log: OnceCell<AccessLog>,
    pub(crate) stop: AbortSource,
    /// When the server was asked to stop.
    pub(crate) stopped_at: Cell<Instant>,
    /// Holds those who listen and the connections.
    inside: Rc<Gate>,
    pub(crate) figures: Figures,
    live: Cell<u64>,
    accepted: Cell<u64>,
    requests: Cell<u64>,
    refused: Cell<u64>,
    failed: Cell<u64>,
    /// Bodies that are being compressed.
    #[cfg(feature = "compression")]
    pub(crate) encoders: Cell<usize>,
    /// Bodies that were sent as they are since too many were being compressed.
    #[cfg(feature = "compression")]
    pub(crate) uncompressed: Cell<u64>,
}

/// What a server has done on its shard.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections that were served or are.
    pub accepted: u64,
    /// Connections that are there.
    pub live: u64,
    /// Requests whose heads were received.
    pub requests: u64,
    /// Connections whose client sent what is refused.
    pub refused: u64,
    /// Connections that ended by an error of the network or of the application, which includes a panic and that
    /// [`Server::serve`] was given up.
    pub failed: u64,
    /// Bodies that were sent as they are since too many others were being compressed.
    #[cfg(feature = "compression")]
    pub uncompressed: u64,
}

/// An HTTP server of one shard. Its [`Handler`], often a [`Router`](crate::Router), is called for every request.
///
/// A request that it leaves unanswered is answered by 500. So is one that it fails or panics on before it has begun to answer, and
/// then the connection ends. If it has begun, the connection ends within the response.
pub struct Server<H> {
    shared: Rc<Shared>,
    handler: Rc<H>,
}

impl<H: Handler + 'static> Server<H> {
    /// A server with the default [`Limits`].
    pub fn new(handler: H) -> Self {
        Self::with_limits(handler, Limits::DEFAULT)
    }

    /// A server.
    pub fn with_limits(handler: H, limits: Limits) -> Self {
        let shared = Shared {
            endpoint: Endpoint::new(limits),
            clock: DateClock::new(),
            access_log: OnceCell::new(),
            stop: AbortSource::new(),
            stopped_at: Cell::new(Instant::FAR_FUTURE),
            inside: Rc::new(Gate::new()),
            figures: Figures::new(),
            live: Cell::new(0),
            accepted: Cell::new(0),
            requests: Cell::new(0),
            refused: Cell::new(0),
            failed: Cell::new(0),
            #[cfg(feature = "compression")]
            encoders: Cell::new(0),
            #[cfg(feature = "compression")]
            uncompressed: Cell::new(0),
        };
        Self { shared: Rc::new(shared), handler: Rc::new(handler) }
    }

    /// Writes a line about each request. The first log that a server is given counts.
    #[must_use]
    pub fn with_access_log(self, log: AccessLog) -> Self {
        // Which one counts is documented.
        let _ = self.shared.access_log.set(log);
        self
    }

    /// Listens at an address, and serves what connects there until the server stops. Answers the address with the port that it
    /// got. May be called for several addresses.
    ///
    /// # Errors
    /// If the address can't be had.
    pub async fn listen(
        &self,
        address: impl Into<Address>,
        options: ListenerOptions,
    ) -> Result<Address, sunstar_net::Error> {
        let listener = Listener::bind(address, options).await?;
        let address = listener.local_address().clone();
        let (shared, handler) = (Rc::clone(&self.shared), Rc::clone(&self.handler));
        let inside = self.shared.inside.enter_owned().map_err(|_| sunstar_net::Error::Stopped)?;
        TaskBuilder::new().name("http accept").spawn(async move {
            accept(shared, handler, listener, inside).await;
        });
        Ok(address)
    }

    /// Serves one connection that came in some other way.
    ///
    /// # Errors
    /// What ended the connection, unless that was in order; [`sunstar_net::Error::Stopped`] if the server had stopped before.
    pub async fn serve(&self, stream: Stream) -> Result<(), Error> {
        let _inside = self.shared.inside.enter().map_err(|_| sunstar_net::Error::Stopped)?;
        serve(Rc::clone(&self.shared), &*self.handler, stream).await
    }

    /// What the server has done.
    pub fn stats(&self) -> ServerStats {
        self.shared.stats()
    }

    /// Shows what the server does in the metrics of its shard, as `sunstar_http_…` with the label `server` and this name; and
    /// names it in the log. A server has one name.
    ///
    /// # Errors
    /// If a server of the shard has this name already.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn publish(&self, name: &'static str) -> Result<(), RegisterError> {
        metrics::publish(&self.shared, name)
    }
}

impl<H: Handler + 'static> Service for Server<H> {
    /// Stops in order: lets no more connections in, serves those that are established, answers every request whose bytes have
    /// arrived, and waits until all connections are closed. A client that has a response to take or a request to finish has
    /// 5 s for it. For handlers it waits as long as they run; who can't wait so long drops the future.
    async fn stop(&self) {
        self.shared.stopped_at.set(now());
        self.shared.stop.request_abort();
        self.shared.inside.close().await;
        let ServerStats { accepted, requests, refused, failed, .. } = self.stats();
        let name = self.shared.figures.name().unwrap_or("HTTP");
        log::info!("{name}: served {requests} requests on {accepted} connections: {refused} refused, {failed} failed");
    }
}

impl<H> fmt::Debug for Server<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("live", &self.shared.live).finish_non_exhaustive()
    }
}

/// Accepts until the server stops and all that is established was accepted.
async fn accept<H>(shared: Rc<Shared>, handler: Rc<H>, mut listener: Listener, inside: GateHolder<Rc<Gate>>)
where
    H: Handler + 'static,
{
    let mut stopped = pin!(shared.stop.aborted());
    let mut is_open = true;
    loop {
        let accepted = poll_fn(|cx| {
            if is_open && stopped.as_mut().poll(cx).is_ready() {
                is_open = false;
                listener.close();
            }
            listener.poll_accept(cx)
        });
        let Ok(stream) = accepted.await else { return };
        let (shared, handler) = (Rc::clone(&shared), Rc::clone(&handler));
        // A clone may be made when the gate is closed already.
        let inside = inside.clone();
        #[cfg(planted = "gate_left_early")]
        drop(inside);
        TaskBuilder::new().name("http connection").spawn(async move {
            if let Err(error) = serve(shared, &*handler, stream).await {
                log::debug!("a connection ended: {error}");
            }
            #[cfg(not(planted = "gate_left_early"))]
            drop(inside);
        });
        maybe_yield().await;
    }
}

/// Serves one connection and counts it.
async fn serve(shared: Rc<Shared>, handler: &impl Handler, stream: Stream) -> Result<(), Error> {
    let mut live = Live::new(&shared);
    let served = Connection::new(stream, Rc::clone(&shared)).serve(handler).await;
    live.has_failed = served.is_err();
    served
}

/// Counts a connection for as long as it is there, and how it ends.
struct Live<'a> {
    shared: &'a Shared,
    /// Until it has ended well.
    has_failed: bool,
}

impl<'a> Live<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.accepted.set(shared.accepted.get() + 1);
        shared.live.set(shared.live.get() + 1);
        Self { shared, has_failed: true }
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        let shared = self.shared;
        shared.live.set(shared.live.get() - 1);
        shared.failed.set(shared.failed.get() + u64::from(self.has_failed));
    }
}

impl Shared {
    /// Waits for a client, but when the server stops, not for long.
    pub(crate) async fn in_time<T>(
        &self,
        wait: impl Future<Output = Result<T, sunstar_net::Error>>,
    ) -> Result<T, sunstar_net::Error> {
        let deadline = async {
            self.stop.aborted().await;
            sleep_until(self.stopped_at.get() + GRACE).await;
        };
        with_deadline(deadline, wait).await.unwrap_or(Err(sunstar_net::Error::Stopped))
    }

    pub(crate) fn stats(&self) -> ServerStats {
        ServerStats {
            accepted: self.accepted.get(),
            live: self.live.get(),
            requests: self.requests.get(),
            refused: self.refused.get(),
            failed: self.failed.get(),
            #[cfg(feature = "compression")]
            uncompressed: self.uncompressed.get(),
        }
    }

    pub(crate) fn count_request(&self) {
        self.requests.set(self.requests.get() + 1);
    }

    pub(crate) fn count_refusal(&self) {
        self.refused.set(self.refused.get() + 1);
    }
}

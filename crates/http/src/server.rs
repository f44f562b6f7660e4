//! A shard's server: accepts, serves, stops.

use alloc::rc::{Rc, Weak};
use core::cell::{Cell, OnceCell};
use core::fmt;
use core::future::{Future, poll_fn};
use core::ops::Deref;
use core::pin::pin;
use core::time::Duration;

use sunstar_executor::Instant;
use sunstar_executor::sync::{AbortSource, Gate, GateHolder, Semaphore};
use sunstar_executor::timer::{now, sleep_until};
use sunstar_executor::{Reserve, Service, TaskBuilder, add_reserve, maybe_yield};
use sunstar_http1::{Endpoint, Limits};
use sunstar_metrics::RegisterError;
use sunstar_net::{Address, Listener, ListenerOptions, Stream};

use crate::access_log::AccessLog;
use crate::clock::DateClock;
use crate::connection::Connection;
use crate::ears::Ears;
use crate::error::Error;
use crate::handler::Handler;
use crate::machine::Spares;
use crate::metrics::{self, Figures};
use crate::options::ServerOptions;
use crate::timeouts::Patience;
use crate::watch::Watch;

/// When the server stops, clients have so long to send the rest of a request that is being served, and to take responses.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// What a shard's connections share.
pub(crate) struct Shared {
    pub(crate) endpoint: Endpoint,
    pub(crate) patience: Patience,
    pub(crate) clock: DateClock,
    /// Empty while requests are not logged.
    pub(crate) access_log: OnceCell<AccessLog>,
    pub(crate) stop: AbortSource,
    /// The connections that hear of it.
    pub(crate) ears: Ears,
    pub(crate) spares: Spares,
    /// When the server was asked to stop.
    pub(crate) stopped_at: Cell<Instant>,
    /// Holds those who listen and the connections.
    inside: Rc<Gate>,
    /// How many more connections may be served; none if there may be any number.
    room: Option<Semaphore>,
    pub(crate) figures: Figures,
    live: Cell<u64>,
    accepted: Cell<u64>,
    held_back: Cell<u64>,
    requests: Cell<u64>,
    refused: Cell<u64>,
    pub(crate) failed: Cell<u64>,
    pub(crate) head_timeouts: Cell<u64>,
    pub(crate) body_timeouts: Cell<u64>,
    pub(crate) idle_timeouts: Cell<u64>,
    pub(crate) displaced: Cell<u64>,
    pub(crate) output_timeouts: Cell<u64>,
    /// Bodies that are being compressed.
    #[cfg(feature = "compression")]
    pub(crate) encoders: Cell<usize>,
    /// Bodies that were sent as they are since too many were being compressed.
    #[cfg(feature = "compression")]
    pub(crate) uncompressed: Cell<u64>,
}

impl Reserve for Shared {
    fn free_unused_memory(&self) {
        self.endpoint.free_unused_memory();
        self.spares.free();
    }
}

/// What a server has done on its shard.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections that were served or are.
    pub accepted: u64,
    /// Connections that are there.
    pub live: u64,
    /// How often a connection had to wait because [as many as may be](ServerOptions::connections) were there.
    pub held_back: u64,
    /// Requests whose heads were received.
    pub requests: u64,
    /// Connections whose client sent what is refused.
    pub refused: u64,
    /// Connections that ended by an error of the network or of the application, which includes a panic and that
    /// [`Server::serve`] was given up. Those of the clients that took too long are not among them.
    pub failed: u64,
    /// Connections whose client sent no request, or not all of a head, in time.
    pub head_timeouts: u64,
    /// Connections whose client sent a body too slowly.
    pub body_timeouts: u64,
    /// Connections that were closed because their client had nothing to ask any more.
    pub idle_timeouts: u64,
    /// Connections whose client had nothing to ask any more, and that were closed because another one waited for the place.
    pub displaced: u64,
    /// Connections that were reset because their client did not take what it was sent.
    pub output_timeouts: u64,
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
    /// A server with the default [`ServerOptions`].
    pub fn new(handler: H) -> Self {
        Self::with_options(handler, ServerOptions::DEFAULT)
    }

    /// A server with these limits, and the default options otherwise.
    pub fn with_limits(handler: H, limits: Limits) -> Self {
        Self::with_options(handler, ServerOptions { limits, ..ServerOptions::DEFAULT })
    }

    /// A server.
    pub fn with_options(handler: H, options: ServerOptions) -> Self {
        let shared = Shared {
            endpoint: Endpoint::new(options.limits),
            patience: options.timeouts.into(),
            room: (options.connections > 0).then(|| Semaphore::new(options.connections)),
            clock: DateClock::new(),
            access_log: OnceCell::new(),
            stop: AbortSource::new(),
            ears: Ears::default(),
            spares: Spares::default(),
            stopped_at: Cell::new(Instant::FAR_FUTURE),
            inside: Rc::new(Gate::new()),
            figures: Figures::new(),
            live: Cell::new(0),
            accepted: Cell::new(0),
            held_back: Cell::new(0),
            requests: Cell::new(0),
            refused: Cell::new(0),
            failed: Cell::new(0),
            head_timeouts: Cell::new(0),
            body_timeouts: Cell::new(0),
            idle_timeouts: Cell::new(0),
            displaced: Cell::new(0),
            output_timeouts: Cell::new(0),
            #[cfg(feature = "compression")]
            encoders: Cell::new(0),
            #[cfg(feature = "compression")]
            uncompressed: Cell::new(0),
        };
        let shared = Rc::new(shared);
        add_reserve(Rc::downgrade(&shared) as Weak<dyn Reserve>);
        Self { shared, handler: Rc::new(handler) }
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
        let inside = self.shared.inside.enter_owned().map_err(|_| Error::Net(sunstar_net::Error::Stopped))?;
        serve(Live::new(Rc::clone(&self.shared), inside), &*self.handler, stream, |served| served).await
    }

    /// What the server has done.
    pub fn stats(&self) -> ServerStats {
        self.shared.stats()
    }

    /// Who has no connection has no output either.
    #[cfg(test)]
    pub(crate) fn check_rest(&self) {
        let frames = self.shared.endpoint.counters().frames.in_use_frames;
        assert!(self.shared.live.get() > 0 || frames == 0, "{frames} frames of output are left");
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
        self.shared.ears.tell();
        if !planted::is("gate_not_awaited") {
            self.shared.inside.close().await;
        }
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
        shared.wait_for_room().await;
        // A clone may be made when the gate is closed already.
        let live = Live::new(Rc::clone(&shared), inside.clone());
        TaskBuilder::new().name("http connection").spawn(serve(live, Rc::clone(&handler), stream, drop));
        maybe_yield().await;
    }
}

/// Serves one connection, and answers what `answer` makes of its end. What an async function is given lies in its future twice, what
/// a block takes with it but once.
fn serve<H: Handler, R>(
    live: Live,
    handler: impl Deref<Target = H>,
    stream: Stream,
    answer: impl FnOnce(Result<(), Error>) -> R,
) -> impl Future<Output = R> {
    let mut connection = Connection::new(stream, live);
    async move {
        let alarm = pin!(sleep_until(Instant::FAR_FUTURE));
        let served = connection.serve(Watch::new(alarm), &*handler).await;
        connection.end(&served);
        if connection.has_failed() && planted::is("connection_leaked") {
            core::mem::forget(connection);
        }
        answer(served)
    }
}

/// Counts a connection for as long as it is there.
pub(crate) struct Live {
    shared: Rc<Shared>,
    /// The server waits for it when it stops.
    _inside: GateHolder<Rc<Gate>>,
}

impl Live {
    fn new(shared: Rc<Shared>, inside: GateHolder<Rc<Gate>>) -> Self {
        shared.accepted.set(shared.accepted.get() + 1);
        shared.live.set(shared.live.get() + 1);
        if let Some(room) = &shared.room {
            room.consume(1).forget();
        }
        Self { shared, _inside: inside }
    }
}

impl Deref for Live {
    type Target = Rc<Shared>;

    fn deref(&self) -> &Rc<Shared> {
        &self.shared
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let shared = &*self.shared;
        shared.live.set(shared.live.get() - 1);
        if let Some(room) = &shared.room {
            room.add_units(1);
        }
    }
}

impl Shared {
    /// Waits until fewer connections are served than may be.
    async fn wait_for_room(&self) {
        if let Some(room) = &self.room
            && room.available_units() == 0
        {
            add_one(&self.held_back);
            self.ears.set_waiting(true);
            // It is not closed; the connection takes its unit itself.
            drop(room.acquire(1).await);
            self.ears.set_waiting(false);
        }
    }

    pub(crate) fn stats(&self) -> ServerStats {
        ServerStats {
            accepted: self.accepted.get(),
            live: self.live.get(),
            held_back: self.held_back.get(),
            requests: self.requests.get(),
            refused: self.refused.get(),
            failed: self.failed.get(),
            head_timeouts: self.head_timeouts.get(),
            body_timeouts: self.body_timeouts.get(),
            idle_timeouts: self.idle_timeouts.get(),
            displaced: self.displaced.get(),
            output_timeouts: self.output_timeouts.get(),
            #[cfg(feature = "compression")]
            uncompressed: self.uncompressed.get(),
        }
    }

    pub(crate) fn count_request(&self) {
        add_one(&self.requests);
    }

    pub(crate) fn count_refusal(&self) {
        add_one(&self.refused);
    }
}

pub(crate) fn add_one(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

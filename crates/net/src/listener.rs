//! Listening for streams of any kind, on one shard or all.

use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};

use sunstar_executor::{current, spawn};

use crate::address::Address;
use crate::error::Error;
use crate::socket::{self, DEFAULT_BACKLOG};
use crate::spread::{self, Direct, Membership};
use crate::stream::Stream;

/// Connections that wait on a shard to be accepted before the listener chooses another shard, unless it is told otherwise.
pub const DEFAULT_ACCEPT_QUEUE: usize = 256;

/// How a listener shares its connections out among the shards that bind its address.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Spread {
    /// To the shard with the fewest live connections of this listener; among equals, to the one whose last is longest ago.
    /// The default.
    #[default]
    LeastConnections,
    /// By the client's port modulo the number of shards that listen, so that a client chooses its shard by its port. What has
    /// no port goes to the shard with the fewest.
    ClientPort,
    /// By the kernel: each shard has a listening socket of its own (`SO_REUSEPORT`). The shares are uneven when
    /// connections are few. Closing one of the sockets on its own may reset what the kernel gave it in that moment.
    ReusePort,
    /// Not at all: this shard listens alone and keeps what it accepts.
    Off,
}

/// How to listen.
///
/// Shards that bind the same address should do so with the same options: those of the first count for all, but for
/// [`Spread::ReusePort`].
#[derive(Clone, Debug)]
pub struct ListenerOptions {
    /// How connections are shared out among shards.
    pub spread: Spread,
    /// Connections that wait in the network before the peer's next ones are dropped. The system may have a lower limit.
    pub backlog: u32,
    /// Connections that wait on each of several shards to be accepted. What is more goes to another shard; if all have as many, it stays
    /// in the network's backlog. At least one.
    pub accept_queue: usize,
    /// Whether a socket at `[::]` takes IPv6 only.
    pub ipv6_only: bool,
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self {
            spread: Spread::default(),
            backlog: DEFAULT_BACKLOG,
            accept_queue: DEFAULT_ACCEPT_QUEUE,
            ipv6_only: false,
        }
    }
}

/// What a listener has done on this shard.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct ListenerStats {
    /// Streams that were accepted on this shard.
    pub accepted: u64,
    /// Of these and those that wait, how many another shard handed over.
    pub handed_over_from: u64,
    /// Connections that this shard took from the network and handed to others.
    pub handed_over_to: u64,
    /// Streams accepted on this shard that are there still.
    pub live: u64,
    /// Connections that wait on this shard to be accepted.
    pub waiting: u64,
    /// Connections that were closed because this shard could not make a stream of them.
    pub refused: u64,
    /// Errors of the network while this shard accepted from it, such as that no descriptor was left.
    pub failures: u64,
    /// Connections that this shard gave to another one than it would have, because as many as may be waited there.
    pub rerouted: u64,
    /// How often this shard stopped taking connections from the network because as many as may be waited on all shards.
    pub held_back: u64,
}

/// What all listeners of a shard have done; see [`accept_stats`](crate::accept_stats).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct AcceptStats {
    /// Streams that were accepted on this shard.
    pub accepted: u64,
    /// Connections that another shard handed over.
    pub handed_over_from: u64,
    /// Streams accepted on this shard that are there still.
    pub live: u64,
    /// Connections that were closed because this shard could not make a stream of them.
    pub refused: u64,
    /// Errors of the network while this shard accepted from it.
    pub failures: u64,
}

/// Listens for streams.
///
/// Every shard that shall have connections binds the same address. The first one has the listening socket and accepts for all;
/// see [`Spread`]. It does so for as long as any shard listens, whether its own listener lives or not, in the scheduling group of
/// the task that bound it.
///
/// Dropping a listener leaves its connections that wait to the other shards that listen there; when the last one is
/// dropped, the address is free, and what waits is closed. [`Listener::close`] is the orderly end.
pub struct Listener(Kind);

enum Kind {
    Direct(Direct),
    Member(Membership),
}

impl Listener {
    /// Listens at an address, together with the other shards that bind it.
    ///
    /// An IP address with port 0 gets a free port, the same on all shards: the first such listener of each shard at that
    /// address is one with the first of the others, the second with the second, and so on. With [`Spread::Off`] and
    /// [`Spread::ReusePort`] each call gets a port of its own.
    ///
    /// Dropping the future undoes what it did.
    ///
    /// # Errors
    /// [`Error::AddressInUse`] also if this shard listens there already, or others do with another [`Spread`] or are
    /// [closing](Listener::close). Otherwise what the network says; [`Error::Unsupported`] if the shard has no network; [`Error::Stopped`] if the program ends.
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn bind(address: impl Into<Address>, options: ListenerOptions) -> Result<Self, Error> {
        let (address, stack) = (address.into(), socket::stack()?);
        let is_shared = matches!(options.spread, Spread::LeastConnections | Spread::ClientPort);
        if !is_shared || current::shard_count() == 1 || stack.is_spread(&address) {
            return Direct::bind(&*stack, &address, &options).map(|direct| Self(Kind::Direct(direct)));
        }
        // A task of its own: if this future is dropped in between, what was begun is finished, and undone by dropping it.
        let joined = spawn(spread::join(stack, address, options)).await;
        joined.unwrap_or(Err(Error::Stopped)).map(|member| Self(Kind::Member(member)))
    }

    /// The next stream for this shard.
    ///
    /// Dropping the future loses no connection.
    ///
    /// # Errors
    /// Only [`Error::Stopped`], after [`Listener::close`] and the last connection. What fails in between is logged, counted
    /// and tried again.
    pub async fn accept(&mut self) -> Result<Stream, Error> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// [`Listener::accept`] for futures written by hand.
    ///
    /// # Errors
    /// As for [`Listener::accept`].
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, Error>> {
        match &mut self.0 {
            Kind::Direct(direct) => direct.poll_accept(cx),
            Kind::Member(member) => member.poll_accept(cx),
        }
    }

    /// Lets no more connections in. What is established already is still accepted, then comes [`Error::Stopped`].
    ///
    /// This is for all shards that listen here together, wherever it is called first. With [`Spread::ReusePort`] and
    /// [`Spread::Off`] it is for this shard.
    pub fn close(&self) {
        match &self.0 {
            Kind::Direct(direct) => direct.close(),
            Kind::Member(member) => member.close(),
        }
    }

    /// The address that it listens at, with the port that it got.
    pub fn local_address(&self) -> &Address {
        match &self.0 {
            Kind::Direct(direct) => direct.address(),
            Kind::Member(member) => member.address(),
        }
    }

    /// What it has done on this shard.
    pub fn stats(&self) -> ListenerStats {
        match &self.0 {
            Kind::Direct(direct) => direct.stats(),
            Kind::Member(member) => member.stats(),
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", self.local_address()).finish_non_exhaustive()
    }
}

//! What a server is told.

use sunstar_http1::Limits;

use crate::timeouts::Timeouts;

/// How a server treats its clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerOptions {
    /// What a client may ask for.
    pub limits: Limits,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// Connections of the shard that are served at the same time; zero means any number. At the bound each of its listeners accepts
    /// one more, which waits until another one ends, and then no more: those that come wait in the listener and in the network's
    /// backlog. While one waits, a connection is closed that has served a request and waits for its client's next one: of some, the
    /// one that has waited for longest. Connections that [`Server::serve`](crate::Server::serve) is given count, but don't wait.
    pub connections: usize,
}

impl ServerOptions {
    /// [`Limits::DEFAULT`], [`Timeouts::DEFAULT`], and any number of connections: the system bounds them by descriptors.
    pub const DEFAULT: Self = Self { limits: Limits::DEFAULT, timeouts: Timeouts::DEFAULT, connections: 0 };
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

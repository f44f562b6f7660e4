//! Messages between shards: one way with [`post()`], there and back with [`submit_to`].
//!
//! Between each two shards lies a bounded ring in each direction. A message is a closure; up to 48 bytes of it travel
//! within a cache line of the ring, larger ones are boxed. Messages that a task sends are published in batches: when
//! some have come together, when the turn looks at the clock, and at its end at the latest.
//!
//! Who finds no room waits in order. Replies never wait and are never refused: what finds no room is kept by
//! the shard that replies, and is bounded by the callers' limits ([`ServiceGroup`]). A message that arrives goes to
//! the inbox of its scheduling group; a full inbox holds the ring back until its group has run some of it. That never
//! takes for ever, since running a message never waits: a request starts a task. So no two shards can wait for each
//! other's rings.

mod call;
mod contained;
mod exchange;
mod inbox;
mod lane;
mod mesh;
#[cfg(all(test, loom))]
mod models;
mod post;
mod ring;
mod sending;
mod service;
mod shard_id;
mod slot;
mod slots;
mod submit;
#[cfg(all(test, not(loom)))]
mod tests;
mod waiting;

pub use call::SubmitError;
pub(crate) use contained::{Contained, contain};
pub(crate) use exchange::Exchange;
pub(crate) use inbox::Inbox;
pub use lane::Stopped;
pub use mesh::{MAX_ALIEN_MESSAGES, Mesh, MeshLinks};
pub(crate) use mesh::{NoEntry, Ticket};
pub use post::{TryPostError, post, try_post};
pub use service::{DEFAULT_MAX_IN_FLIGHT, ServiceGroup};
pub use shard_id::ShardId;
pub(crate) use slot::{Arrival, Label, Message};
pub(crate) use submit::on_each;
pub use submit::{invoke_on_all, invoke_on_others, submit_to, submit_to_with};

/// Messages that may wait in the inbox of each scheduling group of a shard; beyond that they stay in the rings.
pub(crate) const INBOX_MESSAGES: usize = 4096;

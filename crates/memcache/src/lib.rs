//! The memcache protocol as pure state machines, for servers and clients: bytes in, requests or answers out.
//!
//! Nothing here reads a clock, does input or output, or waits. The connections of a shard are made by an [`Endpoint`], which has
//! their limits and counters.
//!
//! # Where bytes lie
//!
//! A line or value that lies in one received buffer is a part of it. What is spread over several buffers is put together: lines
//! in memory that grows up to [`Limits::line_bytes`], values in blocks of at most 64 KiB. How much of values may be under way is
//! bounded for all connections together; memory is taken as bytes come, and values that don't go on give way to others.
//!
//! What is sent lies one behind the other in frames that the endpoint lends, but for values longer than [`COPIED_VALUE_BYTES`].
//!
//! # The store
//!
//! A [`Store`] has the items of one shard in bounded memory. It knows nothing of connections; the time is an argument.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;
// The tests are used by the fuzz targets too, which know the crate by its name.
#[cfg(test)]
extern crate self as sunstar_memcache;

mod binary;
mod client;
mod command;
mod datagram;
mod effect;
mod endpoint;
mod execute;
mod input;
mod joining;
mod limits;
mod meta;
mod number;
mod output;
mod reply;
mod request;
mod server;
mod store;
mod value;

#[cfg(test)]
mod tests;

pub use binary::{BinaryCommand, BinaryRequest, BinaryStatus, BinaryTag, BinaryVerb};
pub use client::{ClientConnection, ClientEvent, Item, ReplyError, RequestError};
pub use command::{Direction, RetrievalCommand, StorageCommand, StorageVerb};
pub use datagram::{FRAME_HEADER_BYTES, MAX_DATAGRAM_BYTES, MAX_DATAGRAM_REPLY_BYTES, RequestId, single_get};
pub use endpoint::{Counters, Endpoint};
pub use execute::Operation;
pub use input::InputFull;
pub use limits::{FREE_VALUE_BYTES, ITEM_OVERHEAD_BYTES, Limits, MAX_KEY_BYTES, MAX_VALUE_BYTES, counted_item_bytes};
pub use meta::{MetaCommand, MetaMode, MetaVerb};
pub use output::{COPIED_VALUE_BYTES, Output};
pub use reply::{Refusal, Reply};
pub use request::{Keys, ListForm, Request};
pub use server::ServerConnection;
pub use store::{
    ClassCounters, ClassFigures, Counted, Expiry, Found, FoundValue, KEYS_AHEAD, Key, KeyHash, LARGE_VALUE_BYTES,
    MIN_MEMORY_BYTES, Moves, PrefixCounters, Sizes, Store, StoreCounters, StoreFigures, Stored,
};
pub use value::Value;

//! What a peer may ask for.

/// The longest key of the protocol, in bytes.
pub const MAX_KEY_BYTES: usize = 250;

/// The longest value that the protocol can speak of, in bytes: lengths of blocks are signed numbers of 32 bits, with the line end.
pub const MAX_VALUE_BYTES: usize = i32::MAX as usize - 2;

/// Bounds on what a peer may send.
///
/// A connection holds one buffer of input, at most one line under way and one value under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A line, with its end. A server answers longer ones by `CLIENT_ERROR line too long` and ends the connection, but takes the
    /// keys of a `get` of any length in parts. For a client they are an error.
    pub line_bytes: usize,
    /// An item, as [`counted_item_bytes`] counts it. A server answers larger ones by `SERVER_ERROR object too large for cache` and
    /// skips them. For a client longer values are an error.
    pub item_bytes: usize,
    /// Memory of values that did not come in one buffer and are not complete, of all connections together. It is taken as bytes come,
    /// 64 KiB at a time. A server answers a value for which there is none by `SERVER_ERROR out of memory storing object` and skips it;
    /// those below [`FREE_VALUE_BYTES`] get it nevertheless.
    pub pending_value_bytes: usize,
    /// Requests of a client that are not answered yet. Further ones are refused.
    pub requests_in_flight: usize,
}

/// What an item has besides key and value, in bytes, where its size is bounded: what it is for memcached, so that the largest value is
/// the same.
pub const ITEM_OVERHEAD_BYTES: usize = 59;

/// What an item has besides that if its flags are not 0.
const FLAGS_BYTES: usize = 4;

/// The size of an item as far as it is bounded, in bytes. What it takes in memory is less.
pub const fn counted_item_bytes(key_bytes: usize, value_bytes: usize, flags: u32) -> usize {
    ITEM_OVERHEAD_BYTES + key_bytes + value_bytes + if flags == 0 { 0 } else { FLAGS_BYTES }
}

/// Values up to this, in bytes, are put together whatever else is under way.
pub const FREE_VALUE_BYTES: usize = 16 << 10;

impl Limits {
    /// The limits of memcached where it has them: values of a mebibyte. The others fit what one shard serves.
    pub const DEFAULT: Self =
        Self { line_bytes: 8 << 10, item_bytes: 1 << 20, pending_value_bytes: 64 << 20, requests_in_flight: 1 << 16 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

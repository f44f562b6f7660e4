//! How much there may be.

/// How many there may be of what strangers can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections; further ones are refused to the application, and reset for others.
    pub connections: u32,
    /// Strangers who have not confirmed, all listeners together; further ones are answered by cookies and not remembered.
    pub half_open: u32,
    /// Connections that are over and remembered; further ones are forgotten at once.
    pub time_wait: u32,
    /// Resets and answers of no connection that wait to be sent; further ones are dropped.
    pub replies: u32,
    /// Bytes by which buffers of connections have grown beyond what they began with, all together; further ones stay as they are.
    pub growth_bytes: u64,
    /// Connections that the application has let go and that have not ended; further ones end the oldest of them by a reset.
    pub orphans: u32,
    /// Bytes that were handed over and not acknowledged, all connections together. From so many on connections that were let go are
    /// reset, the oldest first, and others get no room beyond [`Limits::LEAST_SEND_BYTES`].
    pub send_bytes: u64,
}

impl Limits {
    /// For servers with as many connections as a machine of 16 GiB carries.
    pub const DEFAULT: Self = Self {
        connections: 2_000_000,
        half_open: 16_384,
        time_wait: 262_144,
        replies: 1_024,
        growth_bytes: 512 << 20,
        orphans: 65_536,
        send_bytes: 1 << 30,
    };

    /// So many bytes a connection may have under way however short memory is.
    pub const LEAST_SEND_BYTES: u32 = 16_384;
}

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
}

impl Limits {
    /// For servers with as many connections as a machine of 16 GiB carries.
    pub const DEFAULT: Self =
        Self { connections: 2_000_000, half_open: 16_384, time_wait: 262_144, replies: 1_024, growth_bytes: 512 << 20 };
}

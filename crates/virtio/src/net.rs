//! The network device (virtio 1.2 §5.1): feature bits, the header before each packet, and the driver's side of a pair of queues.

pub mod device;
mod header;
mod large;
mod receiver;
#[cfg(test)]
mod tests;
mod transmitter;

pub use header::{HEADER_BYTES, Malformed, decode, encode, num_buffers};
pub use large::{LARGE_FRAME_BYTES, LARGE_FROM_BYTES, LARGE_HEADROOM_BYTES};
pub use receiver::{ForeignPool, Receiver, ReceiverCounters};
pub use transmitter::{MIN_TRANSMIT_RING, SHORT_BYTES, Transmitter, Unsent};

/// Feature bits of virtio as such (§6) and of network devices (§5.1.3).
pub mod features {
    /// Checksums of packets that the driver sends may be partial.
    pub const CSUM: u64 = 1 << 0;
    /// Checksums of packets that the driver receives may be partial.
    pub const GUEST_CSUM: u64 = 1 << 1;
    /// The device says the longest packet of its network.
    pub const MTU: u64 = 1 << 3;
    /// The device has an Ethernet address.
    pub const MAC: u64 = 1 << 5;
    /// The driver receives large packets of TCP over IPv4.
    pub const GUEST_TSO4: u64 = 1 << 7;
    /// The driver receives large packets of TCP over IPv6.
    pub const GUEST_TSO6: u64 = 1 << 8;
    /// The driver receives large packets of TCP with the congestion window reduced flag.
    pub const GUEST_ECN: u64 = 1 << 9;
    /// The device takes large packets of TCP over IPv4.
    pub const HOST_TSO4: u64 = 1 << 11;
    /// The device takes large packets of TCP over IPv6.
    pub const HOST_TSO6: u64 = 1 << 12;
    /// The device takes large packets of TCP with the congestion window reduced flag.
    pub const HOST_ECN: u64 = 1 << 13;
    /// A received packet may lie in several chains.
    pub const MRG_RXBUF: u64 = 1 << 15;
    /// The device says whether its link is up.
    pub const STATUS: u64 = 1 << 16;
    /// There is a queue for commands.
    pub const CTRL_VQ: u64 = 1 << 17;
    /// There are several pairs of queues.
    pub const MQ: u64 = 1 << 22;
    /// A descriptor may stand for a table of descriptors.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// Each side says from which place on it wants to be told.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// Vhost-user: the back end knows protocol features.
    pub const VHOST_USER_PROTOCOL: u64 = 1 << 30;
    /// The device keeps to this version of virtio, and not to what was before it.
    pub const VERSION_1: u64 = 1 << 32;
    /// Queues are packed.
    pub const RING_PACKED: u64 = 1 << 34;
    /// Chains are used in the order in which they were made available.
    pub const IN_ORDER: u64 = 1 << 35;
    /// The driver receives large packets of UDP.
    pub const GUEST_USO4: u64 = 1 << 54;
    /// The same over IPv6.
    pub const GUEST_USO6: u64 = 1 << 55;
    /// The device takes large packets of UDP.
    pub const HOST_USO: u64 = 1 << 56;
}

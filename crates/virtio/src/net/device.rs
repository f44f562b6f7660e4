//! The device's side of a pair of queues: packets are copied out of what the driver transmits, and into what it receives by.
//!
//! The driver is not trusted. What it has written is looked at once; of each packet there is one copy, in frames of whoever runs the device,
//! and nothing is concluded from what still lies in shared memory. A chain that makes no sense is given back and counted.

mod receive;
#[cfg(test)]
mod tests;
mod transmit;

use alloc::sync::Arc;
use core::fmt;

use sunstar_packet::{Checksum, Offload, SegmentationKind};

use super::features;
use crate::memory::MemoryMap;
use crate::queue::{DeviceQueue, Part};

pub use receive::{MAX_BURST_DESCRIPTORS, MAX_MERGED_CHAINS, Put, ReceiveRing};
pub use transmit::{Took, TransmitRing};

/// A ring that a driver has set up, for the device to work on.
pub struct DeviceRing {
    queue: DeviceQueue,
    map: Arc<MemoryMap>,
    features: u64,
}

impl DeviceRing {
    /// A ring whose descriptors have the addresses of `map`, of a driver with which `features` were negotiated.
    pub fn new(queue: DeviceQueue, map: Arc<MemoryMap>, features: u64) -> Self {
        Self { queue, map, features }
    }

    fn has(&self, feature: u64) -> bool {
        self.features & feature != 0
    }

    /// The place from which another device goes on, see [`DeviceQueue::base`].
    pub fn base(&self) -> u16 {
        self.queue.base()
    }

    /// Asks to be told when a further chain is available. Answers whether one is there already, which may not be told.
    #[must_use]
    pub fn enable_notifications(&mut self) -> bool {
        self.queue.enable_notifications()
    }

    /// Asks not to be told. The driver may do it all the same.
    pub fn disable_notifications(&mut self) {
        self.queue.disable_notifications();
    }
}

impl fmt::Debug for DeviceRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceRing").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// The bits that a packet's metadata need, in the direction that they are for.
struct Needs {
    checksum: u64,
    tso4: u64,
    tso6: u64,
    ecn: u64,
    uso: u64,
}

/// What the device takes.
const FROM_DRIVER: Needs = Needs {
    checksum: features::CSUM,
    tso4: features::HOST_TSO4,
    tso6: features::HOST_TSO6,
    ecn: features::HOST_ECN,
    uso: features::HOST_USO,
};

/// What the driver takes.
const TO_DRIVER: Needs = Needs {
    checksum: features::GUEST_CSUM,
    tso4: features::GUEST_TSO4,
    tso6: features::GUEST_TSO6,
    ecn: features::GUEST_ECN,
    uso: features::GUEST_USO4 | features::GUEST_USO6,
};

impl Needs {
    /// Whether a packet with these metadata may be passed on as it is.
    fn are_met(&self, offload: &Offload, features: u64) -> bool {
        let mut needed = 0;
        if matches!(offload.checksum, Checksum::Partial { .. }) {
            needed |= self.checksum;
        }
        if let Some(segmentation) = &offload.segmentation {
            needed |= match segmentation.kind {
                SegmentationKind::Tcpv4 => self.tso4,
                SegmentationKind::Tcpv6 => self.tso6,
                SegmentationKind::UdpL4 => self.uso,
            };
            needed |= if segmentation.has_ecn { self.ecn } else { 0 };
        }
        features & needed == needed || planted::is("virtio_net_not_negotiated")
    }
}

/// How many bytes there are in some parts.
fn bytes_of(parts: &[Part]) -> usize {
    parts.iter().map(|part| part.len as usize).sum()
}

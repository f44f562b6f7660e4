//! What a front end asks for that can't be.

use std::io;

use sunstar_virtio::SetupError;

use super::MAX_RING;
use crate::vhost_user::back::table::TableError;
use crate::vhost_user::message::MessageError;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(in crate::vhost_user::back) enum SessionError {
    /// The message makes no sense.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Features that were not offered.
    #[error("features {unknown:#x} were not offered")]
    Features {
        /// Those.
        unknown: u64,
    },
    /// Protocol features that were not offered.
    #[error("protocol features {unknown:#x} were not offered")]
    ProtocolFeatures {
        /// Those.
        unknown: u64,
    },
    /// The driver is from before virtio 1.0.
    #[error("the driver does not know virtio 1.0 (VIRTIO_F_VERSION_1), which is needed")]
    Legacy,
    /// What can't change while a ring is worked on.
    #[error("{what} can't change while it is worked on")]
    Running {
        /// What.
        what: &'static str,
    },
    /// There are fewer rings.
    #[error("there is no ring {index}")]
    NoSuchRing {
        /// Which was meant.
        index: u32,
    },
    /// A ring is to have a size that it can't have.
    #[error("a ring of {size} descriptors: there may be 1 to {MAX_RING}")]
    Size {
        /// How many it should have.
        size: u32,
    },
    /// A ring is to start of which something was not told.
    #[error("a ring is to start whose {what} was not told")]
    NotKnown {
        /// What.
        what: &'static str,
    },
    /// A part of a ring does not lie in the memory.
    #[error("the {what} of a ring, at address {address:#x}, does not lie in the shared memory")]
    NotMapped {
        /// Which part.
        what: &'static str,
        /// Where it should lie.
        address: u64,
    },
    /// A ring can't be as it was told.
    #[error(transparent)]
    Ring(#[from] SetupError),
    /// The memory can't be had.
    #[error("shared memory: {0}")]
    Memory(#[from] TableError),
    /// A descriptor is missing.
    #[error("a descriptor is missing")]
    NoFile,
    /// A descriptor by which the sides tell each other is no eventfd.
    #[error("a descriptor to be told by is no eventfd")]
    NoBell,
    /// The same can't be used.
    #[error("a descriptor to be told by: {0}")]
    Bell(#[source] io::Error),
    /// The two sides have different MTUs.
    #[error("the front end has an MTU of {theirs} bytes, and this side one of {ours}")]
    Mtu {
        /// What the front end says.
        theirs: u64,
        /// What was said here.
        ours: usize,
    },
}

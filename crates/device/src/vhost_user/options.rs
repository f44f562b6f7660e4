//! What both sides of a vhost-user device have options for.

use std::ops::RangeInclusive;
use std::path::Path;

use sunstar_wire::MacAddr;
use sunstar_wire::toeplitz::SYMMETRIC_KEY;

use super::address;
use super::socket::{SocketError, check_path};
use crate::capabilities::Offloads;
use crate::flow_hash::{FlowHash, Indirection};

/// A vhost-user device has at most this many pairs of queues: rings have numbers of 8 bits.
pub const MAX_VHOST_USER_QUEUES: usize = 128;

/// MTUs that make sense: IPv4 needs the first, and no packet is longer than the last.
const MTUS: RangeInclusive<usize> = 68..=65_535;

/// Which flows come by which pair of queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rss {
    /// Both sides compute the pair by the [symmetric key](SYMMETRIC_KEY), as a Sunstar with as many shards does: each flow comes by the queue of
    /// the shard that has it. Everybody knows the key, so who may choose ports can have all of his flows at one shard.
    #[default]
    Symmetric,
    /// The other side is not relied on: the shards have a key that nobody knows, and what comes by the queue of another shard is forwarded.
    Secret,
}

impl Rss {
    /// The hash to be told for a device with so many queues.
    pub(super) fn flow_hash(self, queues: usize) -> Option<FlowHash> {
        let symmetric = FlowHash { key: SYMMETRIC_KEY, indirection: Indirection::Highest };
        (queues > 1 && self == Self::Symmetric).then_some(symmetric)
    }
}

/// Why a vhost-user device can't be as it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum VhostUserOptionError {
    /// The path is none of a socket.
    #[error(transparent)]
    Path(#[from] SocketError),
    /// The number of queues is out of range.
    #[error("{queues} queues: a vhost-user device has 1 to {MAX_VHOST_USER_QUEUES}")]
    Queues {
        /// The number that was asked for.
        queues: usize,
    },
    /// The MTU is out of range.
    #[error("an MTU of {mtu_bytes} bytes: it is from 68 to 65,535")]
    Mtu {
        /// The MTU that was asked for.
        mtu_bytes: usize,
    },
    /// The command line is wrong.
    #[error(
        "{option:?} is no option of {of}: there are server, queues=N, mtu=BYTES, mac=ADDRESS, offload=on|off, rss=symmetric|secret \
         and {own}"
    )]
    Unknown {
        /// What was not understood.
        option: String,
        /// Which side it was said of.
        of: &'static str,
        /// What only that side has.
        own: &'static str,
    },
}

/// The options that both sides have, where they are to be put.
pub(super) struct Common<'a> {
    pub(super) is_server: &'a mut bool,
    pub(super) queues: &'a mut usize,
    pub(super) mtu_bytes: &'a mut usize,
    pub(super) mac: &'a mut Option<MacAddr>,
    pub(super) offloads: &'a mut Offloads,
    pub(super) rss: &'a mut Rss,
}

impl Common<'_> {
    /// Takes an option as it stands on a command line; nothing if it is none of these.
    pub(super) fn read(self, text: &str) -> Option<()> {
        match text.split_once('=') {
            None if text == "server" => *self.is_server = true,
            Some(("queues", count)) => *self.queues = count.parse().ok()?,
            Some(("mtu", bytes)) => *self.mtu_bytes = bytes.parse().ok()?,
            Some(("mac", text)) => *self.mac = Some(address::parse(text)?),
            Some(("offload", "on")) => {}
            Some(("offload", "off")) => *self.offloads = Offloads::NONE,
            Some(("rss", "symmetric")) => *self.rss = Rss::Symmetric,
            Some(("rss", "secret")) => *self.rss = Rss::Secret,
            _ => return None,
        }
        Some(())
    }
}

/// Whether such a device can be.
pub(super) fn check(path: &Path, queues: usize, mtu_bytes: usize) -> Result<(), VhostUserOptionError> {
    check_path(path)?;
    if !(1..=MAX_VHOST_USER_QUEUES).contains(&queues) {
        return Err(VhostUserOptionError::Queues { queues });
    }
    if MTUS.contains(&mtu_bytes) { Ok(()) } else { Err(VhostUserOptionError::Mtu { mtu_bytes }) }
}

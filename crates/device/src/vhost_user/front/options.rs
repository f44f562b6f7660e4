//! What a front end is like, and what it is called on a command line.

use std::path::PathBuf;
use std::str::FromStr;

use sunstar_virtio::net::features;
use sunstar_wire::MacAddr;

use super::error::FrontError;
use crate::capabilities::Offloads;
use crate::vhost_user::address;
use crate::vhost_user::options::{self, Common, Rss, VhostUserOptionError};

/// What addresses of front ends begin with.
const OWN_OCTET: u8 = 2;

/// Which kind of rings is preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ring {
    /// Split ones, which every back end has.
    #[default]
    Split,
    /// Packed ones, if the back end has them.
    Packed,
}

/// Which back end, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontOptions {
    /// The socket, of at most 107 bytes.
    pub path: PathBuf,
    /// Whether the back end connects to this side, which makes the socket.
    pub is_server: bool,
    /// How many pairs of queues, at most [`MAX_VHOST_USER_QUEUES`](crate::MAX_VHOST_USER_QUEUES).
    pub queues: usize,
    /// The longest IP packet that is sent in one piece, in bytes, from 68 to 65,535.
    pub mtu_bytes: usize,
    /// The stack's address; without it, one that follows from the path.
    pub mac: Option<MacAddr>,
    /// The offloads to be used, both ways, as far as the back end has them. VLAN tags always stay in the frame.
    pub offloads: Offloads,
    /// Which flows come by which pair of queues.
    pub rss: Rss,
    /// Which kind of rings is preferred.
    pub ring: Ring,
}

impl FrontOptions {
    /// One pair of queues, with all offloads, to a back end that listens at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            is_server: false,
            queues: 1,
            mtu_bytes: 1_500,
            mac: None,
            offloads: Offloads { vlan: false, ..Offloads::ALL },
            rss: Rss::default(),
            ring: Ring::Split,
        }
    }

    pub(super) fn check(&self) -> Result<(), VhostUserOptionError> {
        options::check(&self.path, self.queues, self.mtu_bytes)
    }

    /// The stack's address.
    pub(super) fn mac(&self) -> MacAddr {
        self.mac.unwrap_or_else(|| address::of_path(&self.path, OWN_OCTET))
    }

    /// The features that this side has use for.
    pub(super) fn features(&self) -> u64 {
        let Offloads { checksum, tso4, tso6, tso_ecn, uso, vlan: _ } = self.offloads;
        let table = [
            (checksum, features::CSUM | features::GUEST_CSUM),
            (tso4, features::HOST_TSO4 | features::GUEST_TSO4),
            (tso6, features::HOST_TSO6 | features::GUEST_TSO6),
            (tso_ecn, features::HOST_ECN | features::GUEST_ECN),
            (uso, features::HOST_USO),
            (self.queues > 1, features::MQ),
            (self.ring == Ring::Packed, features::RING_PACKED),
        ];
        let always = features::VERSION_1
            | features::MRG_RXBUF
            | features::INDIRECT_DESC
            | features::EVENT_IDX
            | features::IN_ORDER
            | features::VHOST_USER_PROTOCOL;
        table.iter().filter(|(is_wanted, _)| *is_wanted).fold(always, |bits, (_, bit)| bits | bit)
    }
}

/// Reads what follows `vhost-user:` on a command line:
/// `PATH[,server][,queues=N][,mtu=BYTES][,mac=ADDRESS][,offload=on|off][,rss=symmetric|secret][,ring=split|packed]`.
impl FromStr for FrontOptions {
    type Err = FrontError;

    fn from_str(text: &str) -> Result<Self, FrontError> {
        let mut parts = text.split(',');
        let mut options = Self::new(parts.next().unwrap_or_default());
        for part in parts {
            let Self { path: _, is_server, queues, mtu_bytes, mac, offloads, rss, ring } = &mut options;
            match part {
                "ring=split" => *ring = Ring::Split,
                "ring=packed" => *ring = Ring::Packed,
                _ => Common { is_server, queues, mtu_bytes, mac, offloads, rss }.read(part).ok_or_else(|| {
                    let (of, own) = ("a vhost-user device", "ring=split|packed");
                    VhostUserOptionError::Unknown { option: part.to_owned(), of, own }
                })?,
            }
        }
        options.check()?;
        Ok(options)
    }
}

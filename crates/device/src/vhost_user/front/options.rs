//! What a front end is like, and what it is called on a command line.

use std::path::PathBuf;
use std::str::FromStr;

use sunstar_virtio::net::features;
use sunstar_wire::MacAddr;

use super::error::FrontError;
use crate::capabilities::Offloads;
use crate::vhost_user::address;

/// A front end has at most this many pairs of queues.
pub const MAX_FRONT_QUEUES: usize = 128;

/// The longest path of a socket, in bytes (unix(7)).
pub(super) const MAX_PATH_BYTES: usize = 107;

/// What addresses of front ends begin with.
const OWN_OCTET: u8 = 2;

/// MTUs that make sense: IPv4 needs the first, and no packet is longer than the last.
const MTUS: std::ops::RangeInclusive<usize> = 68..=65_535;

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
    /// How many pairs of queues, at most [`MAX_FRONT_QUEUES`].
    pub queues: usize,
    /// The longest IP packet that is sent in one piece, in bytes, from 68 to 65,535.
    pub mtu_bytes: usize,
    /// The stack's address; without it, one that follows from the path.
    pub mac: Option<MacAddr>,
    /// The offloads to be used, both ways, as far as the back end has them. VLAN tags always stay in the frame.
    pub offloads: Offloads,
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
            ring: Ring::Split,
        }
    }

    pub(super) fn check(&self) -> Result<(), FrontError> {
        let bytes = self.path.as_os_str().len();
        match bytes {
            0 => return Err(FrontError::NoPath),
            1..=MAX_PATH_BYTES => {}
            _ => return Err(FrontError::PathTooLong { path: self.path.clone() }),
        }
        if !(1..=MAX_FRONT_QUEUES).contains(&self.queues) {
            return Err(FrontError::Queues { queues: self.queues });
        }
        if MTUS.contains(&self.mtu_bytes) { Ok(()) } else { Err(FrontError::Mtu { mtu_bytes: self.mtu_bytes }) }
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
/// `PATH[,server][,queues=N][,mtu=BYTES][,mac=ADDRESS][,offload=on|off][,ring=split|packed]`.
impl FromStr for FrontOptions {
    type Err = FrontError;

    fn from_str(text: &str) -> Result<Self, FrontError> {
        let mut parts = text.split(',');
        let mut options = Self::new(parts.next().unwrap_or_default());
        for part in parts {
            let wrong = || FrontError::Option { option: part.to_owned() };
            match part.split_once('=') {
                None if part == "server" => options.is_server = true,
                Some(("queues", count)) => options.queues = count.parse().map_err(|_| wrong())?,
                Some(("mtu", bytes)) => options.mtu_bytes = bytes.parse().map_err(|_| wrong())?,
                Some(("mac", text)) => options.mac = Some(address::parse(text).ok_or_else(wrong)?),
                Some(("offload", "on")) => {}
                Some(("offload", "off")) => options.offloads = Offloads::NONE,
                Some(("ring", "split")) => options.ring = Ring::Split,
                Some(("ring", "packed")) => options.ring = Ring::Packed,
                _ => return Err(wrong()),
            }
        }
        options.check()?;
        Ok(options)
    }
}

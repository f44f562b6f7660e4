//! The back end: this side is the device, as a switch is for virtual machines. It works on rings that lie in the front end's memory.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;
mod mapping;
mod port;
mod queue;
mod service;
mod session;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use sunstar_virtio::net::features;
use sunstar_wire::MacAddr;

use crate::capabilities::{Capabilities, Offloads};
use crate::queue::{DetachedQueue, Device, Queue, TakeError};
use port::Port;
use queue::BackQueue;
use service::{Meeting, Service};
use session::Offer;

use super::address;
use super::options::{self, Common, Rss, VhostUserOptionError};
use super::socket::{Listener, SocketError};

/// What addresses of back ends begin with.
const OWN_OCTET: u8 = 6;

/// Where front ends are met, and what they get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackOptions {
    /// The socket, of at most 107 bytes.
    pub path: PathBuf,
    /// Whether front ends connect to this side, which makes the socket.
    pub is_server: bool,
    /// How many pairs of queues, at most [`MAX_VHOST_USER_QUEUES`](crate::MAX_VHOST_USER_QUEUES). The driver spreads flows over
    /// them.
    pub queues: usize,
    /// The longest IP packet that is sent in one piece, in bytes, from 68 to 65,535. Front ends that tell another one are refused.
    pub mtu_bytes: usize,
    /// The stack's address; without it, one that follows from the path.
    pub mac: Option<MacAddr>,
    /// The offloads that drivers may use. What a driver does not take is completed and cut here. VLAN tags always stay in the frame.
    pub offloads: Offloads,
    /// Which flows come by which pair of queues.
    pub rss: Rss,
}

impl BackOptions {
    /// One pair of queues, with all offloads, for a front end that listens at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            is_server: false,
            queues: 1,
            mtu_bytes: 1_500,
            mac: None,
            offloads: Offloads { vlan: false, ..Offloads::ALL },
            rss: Rss::default(),
        }
    }

    fn check(&self) -> Result<(), VhostUserOptionError> {
        options::check(&self.path, self.queues, self.mtu_bytes)
    }

    /// The stack's address.
    fn mac(&self) -> MacAddr {
        self.mac.unwrap_or_else(|| address::of_path(&self.path, OWN_OCTET))
    }

    /// What drivers are offered.
    fn features(&self) -> u64 {
        let Offloads { checksum, tso4, tso6, tso_ecn, uso, vlan: _ } = self.offloads;
        let has_tcp = tso4 || tso6;
        let table = [
            (checksum, features::CSUM | features::GUEST_CSUM),
            (checksum && tso4, features::HOST_TSO4 | features::GUEST_TSO4),
            (checksum && tso6, features::HOST_TSO6 | features::GUEST_TSO6),
            (checksum && has_tcp && tso_ecn, features::HOST_ECN | features::GUEST_ECN),
            // Stacks take no large packets of UDP, so that none is taken here.
            (checksum && uso, features::GUEST_USO4 | features::GUEST_USO6),
            (self.queues > 1, features::MQ),
        ];
        let always = features::VERSION_1
            | features::MRG_RXBUF
            | features::MTU
            | features::INDIRECT_DESC
            | features::EVENT_IDX
            | features::IN_ORDER
            | features::RING_PACKED
            | features::VHOST_USER_PROTOCOL;
        table.iter().filter(|(is_offered, _)| *is_offered).fold(always, |bits, (_, bit)| bits | bit)
    }
}

/// Reads what follows `vhost-user:` on a command line:
/// `PATH,back[,server][,queues=N][,mtu=BYTES][,mac=ADDRESS][,offload=on|off][,rss=symmetric|secret]`.
impl FromStr for BackOptions {
    type Err = BackError;

    fn from_str(text: &str) -> Result<Self, BackError> {
        let mut parts = text.split(',');
        let mut options = Self::new(parts.next().unwrap_or_default());
        for part in parts.filter(|part| *part != "back") {
            let Self { path: _, is_server, queues, mtu_bytes, mac, offloads, rss } = &mut options;
            Common { is_server, queues, mtu_bytes, mac, offloads, rss }.read(part).ok_or_else(|| {
                let (of, own) = ("the back end of a vhost-user device", "back");
                VhostUserOptionError::Unknown { option: part.to_owned(), of, own }
            })?;
        }
        options.check()?;
        Ok(options)
    }
}

/// Why a back end can't be had.
#[derive(Debug, thiserror::Error)]
pub enum BackError {
    /// The socket can't be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// There is no such device.
    #[error(transparent)]
    Options(#[from] VhostUserOptionError),
}

/// The back end of a vhost-user device.
///
/// A thread of its own speaks with the front end, one at a time: the next one is served when the one before has gone. Without one, what is
/// sent is dropped and counted, and nothing is received; the device stays, and so do all who listen on it.
///
/// The front end is not trusted, with two exceptions. Memory of files that can't be sealed it can cut off, and large pages (hugetlbfs) it can
/// give back though they are sealed, until none is left for the next access: either ends this process, and the log says when a front end has
/// such memory. And it can make a shard wait: by filling up the eventfd by which it wants to be told, after having made it one that blocks.
pub struct VhostUserBack {
    name: String,
    capabilities: Capabilities,
    ports: Arc<[Arc<Port>]>,
    is_taken: Vec<bool>,
    service: Arc<Service>,
}

impl VhostUserBack {
    /// Listens for front ends, or begins to look for one.
    ///
    /// # Errors
    /// [`BackError`] says what is missing.
    pub fn open(options: &BackOptions) -> Result<Self, BackError> {
        options.check()?;
        let path = options.path.clone();
        let meeting =
            if options.is_server { Meeting::Listen(Listener::bind(&path)?) } else { Meeting::Connect(path.clone()) };
        let failed = |error| BackError::Socket(SocketError::System { path: path.clone(), error });
        let ports: io::Result<Vec<Arc<Port>>> = (0..options.queues).map(|_| Port::new().map(Arc::new)).collect();
        let ports: Arc<[Arc<Port>]> = ports.map_err(failed)?.into();
        let offer = Offer { features: options.features(), mtu_bytes: options.mtu_bytes };
        let name = format!("vhost-user:{}", path.display());
        let service = Service::start(name.clone(), meeting, offer, Arc::clone(&ports)).map_err(failed)?;
        let Offloads { checksum, tso4, tso6, tso_ecn, uso, .. } = options.offloads;
        let tx = if checksum { Offloads { checksum, tso4, tso6, tso_ecn, uso, vlan: false } } else { Offloads::NONE };
        let capabilities = Capabilities {
            mac: options.mac(),
            mtu_bytes: options.mtu_bytes,
            queues: options.queues,
            tx,
            rx: Offloads { uso: false, ..tx },
            rss: options.rss.flow_hash(options.queues),
        };
        let is_taken = vec![false; options.queues];
        Ok(Self { name, capabilities, ports, is_taken, service: Arc::new(service) })
    }
}

impl Device for VhostUserBack {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn take_queue(&mut self, index: usize) -> Result<DetachedQueue, TakeError> {
        let queues = self.ports.len();
        let is_taken = self.is_taken.get_mut(index).ok_or(TakeError::NoSuchQueue { index, queues })?;
        if std::mem::replace(is_taken, true) {
            return Err(TakeError::Taken { index });
        }
        let (port, service) = (Arc::clone(&self.ports[index]), Arc::clone(&self.service));
        let capabilities = self.capabilities.clone();
        Ok(DetachedQueue::new(move |pool| {
            BackQueue::new(port, service, index == 0, capabilities, pool)
                .map(|queue| -> Box<dyn Queue> { Box::new(queue) })
        }))
    }
}

impl fmt::Debug for VhostUserBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VhostUserBack")
            .field("name", &self.name)
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

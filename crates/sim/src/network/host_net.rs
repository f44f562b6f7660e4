//! A host's place in the network: its address, and who has which port.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::{Rc, Weak};

use sunstar_net::Error;

use super::datagram::DatagramQueue;
use super::listener::Listener;

/// Sockets that have a port, with the addresses that they are bound to.
pub(super) struct Bindings<T>(BTreeMap<u16, Vec<Weak<T>>>);

/// A socket that is bound.
pub(super) trait Bound {
    fn address(&self) -> SocketAddrV4;
    fn shares_port(&self) -> bool;
}

impl<T: Bound> Bindings<T> {
    /// Those that are bound to the port at this address or at all, in the order in which they were bound.
    pub(super) fn at(&self, address: SocketAddrV4) -> Vec<Rc<T>> {
        let bound = self.0.get(&address.port()).into_iter().flatten().filter_map(Weak::upgrade);
        bound.filter(|socket| overlap(*socket.address().ip(), *address.ip())).collect()
    }

    fn check(&self, address: SocketAddrV4, shares_port: bool) -> Result<(), Error> {
        let is_free = self.at(address).iter().all(|other| shares_port && other.shares_port());
        if is_free { Ok(()) } else { Err(Error::AddressInUse) }
    }

    fn is_free(&self, port: u16) -> bool {
        !self.0.contains_key(&port)
    }

    pub(super) fn add(&mut self, socket: &Rc<T>) {
        self.0.entry(socket.address().port()).or_default().push(Rc::downgrade(socket));
    }

    /// Takes out those of a port that are gone.
    pub(super) fn prune(&mut self, port: u16) {
        if let Some(sockets) = self.0.get_mut(&port) {
            sockets.retain(|socket| socket.strong_count() > 0);
            if sockets.is_empty() {
                self.0.remove(&port);
            }
        }
    }
}

fn overlap(one: Ipv4Addr, other: Ipv4Addr) -> bool {
    one == other || one.is_unspecified() || other.is_unspecified()
}

/// A host's place in the network.
pub(super) struct HostNet {
    pub(super) name: String,
    pub(super) ip: Ipv4Addr,
    pub(super) listeners: Bindings<Listener>,
    pub(super) datagrams: Bindings<DatagramQueue>,
    /// Ports of connections that were made from here.
    connected: BTreeSet<u16>,
    next_port: usize,
}

impl HostNet {
    /// The first of the ports that are given to those who ask for none, as on Linux.
    const FIRST_EPHEMERAL_PORT: u16 = 32_768;
    /// How many there are.
    pub(super) const EPHEMERAL_PORTS: usize = 28_232;

    pub(super) fn new(name: String, ip: Ipv4Addr, first_port: usize) -> Self {
        Self {
            name,
            ip,
            listeners: Bindings(BTreeMap::new()),
            datagrams: Bindings(BTreeMap::new()),
            connected: BTreeSet::new(),
            next_port: first_port,
        }
    }

    /// The address of the host with this number: 10.0.0.1, 10.0.0.2, …
    pub(super) fn address(number: usize) -> Ipv4Addr {
        let number = u32::try_from(number).unwrap_or(u32::MAX) + 1;
        Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() | number)
    }

    /// The number of the host with this address.
    pub(super) fn number(address: Ipv4Addr) -> Option<usize> {
        let [net, ..] = address.octets();
        let number = address.to_bits() & 0x00ff_ffff;
        if net == 10 { usize::try_from(number).ok()?.checked_sub(1) } else { None }
    }

    /// Whether a socket here may be bound to the address.
    pub(super) fn owns(&self, ip: Ipv4Addr) -> bool {
        ip == self.ip || ip.is_loopback() || ip.is_unspecified()
    }

    pub(super) fn address_to_listen(&mut self, wanted: SocketAddrV4, shares_port: bool) -> Result<SocketAddrV4, Error> {
        let wanted =
            self.with_port(wanted, |host, port| host.listeners.is_free(port) && !host.connected.contains(&port))?;
        self.listeners.check(wanted, shares_port)?;
        // As for the kernel, a connection from the port keeps listeners off.
        if self.connected.contains(&wanted.port()) { Err(Error::AddressInUse) } else { Ok(wanted) }
    }

    pub(super) fn address_for_datagrams(
        &mut self,
        wanted: SocketAddrV4,
        shares_port: bool,
    ) -> Result<SocketAddrV4, Error> {
        let wanted = self.with_port(wanted, |host, port| host.datagrams.is_free(port))?;
        self.datagrams.check(wanted, shares_port)?;
        Ok(wanted)
    }

    /// The address that a connection comes from; its port is taken until [`HostNet::disconnected`].
    pub(super) fn address_to_connect(&mut self, wanted: SocketAddrV4) -> Result<SocketAddrV4, Error> {
        let is_free = |host: &Self, port| host.listeners.is_free(port) && !host.connected.contains(&port);
        let from = self.with_port(wanted, is_free)?;
        if is_free(self, from.port()) {
            self.connected.insert(from.port());
            Ok(from)
        } else {
            Err(Error::AddressInUse)
        }
    }

    pub(super) fn disconnected(&mut self, port: u16) {
        self.connected.remove(&port);
    }

    /// Replaces the port 0 by a free one.
    fn with_port(&mut self, wanted: SocketAddrV4, is_free: impl Fn(&Self, u16) -> bool) -> Result<SocketAddrV4, Error> {
        if !self.owns(*wanted.ip()) {
            return Err(Error::AddressNotAvailable);
        }
        if wanted.port() != 0 {
            return Ok(wanted);
        }
        for _ in 0..Self::EPHEMERAL_PORTS {
            let offset = u16::try_from(self.next_port).unwrap_or(0);
            self.next_port = (self.next_port + 1) % Self::EPHEMERAL_PORTS;
            let port = Self::FIRST_EPHEMERAL_PORT + offset;
            if is_free(self, port) {
                return Ok(SocketAddrV4::new(*wanted.ip(), port));
            }
        }
        // What Linux says when there is none: EADDRINUSE to who binds, EADDRNOTAVAIL to who connects.
        Err(Error::AddressInUse)
    }
}

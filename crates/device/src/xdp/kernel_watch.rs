//! What the kernel changes about the interface, and about its own addresses, while the device is in use, as rtnetlink(7) tells.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with};
use sunstar_executor::Instant;
use sunstar_wire::MacAddr;

use super::addresses::XdpAddresses;
use super::netlink::{attribute, next_message, request};

/// How often it is asked what has changed, while the shard does not sleep.
const PAUSE: Duration = Duration::from_secs(1);

/// What is told at a time has room in this, and in so many of it what is told in all: what is left is heard the next time.
const ROOM_BYTES: usize = 16 << 10;
const MAX_READS: usize = 64;

// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`.
const LINKS: u32 = 1;
const ADDRESSES: u32 = 0x10 | 0x100;

/// `IFLA_LINKINFO`.
const LINK_INFO: u16 = 18;

/// `IFF_UP` and `IFF_LOWER_UP`.
const UP: u32 = 1 | 1 << 16;

/// Bytes of `struct ifinfomsg` and of `struct ifaddrmsg`.
const LINK_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;

/// An interface, as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LinkState {
    pub(super) mac: MacAddr,
    /// The index of the interface of which it is a port, and of what kind that is.
    pub(super) port_of: Option<(u32, String)>,
    /// Whether it is up, and what it leads to, too.
    is_up: bool,
    name: String,
}

impl LinkState {
    /// That of an interface by its index, in the network namespace of the thread.
    pub(super) fn ask(index: u32) -> io::Result<Self> {
        let socket = open()?;
        let mut begin = [0; LINK_BYTES];
        begin[4..8].copy_from_slice(&index.to_ne_bytes());
        send(&socket, &request(libc::RTM_GETLINK, &begin, None), SendFlags::empty())?;
        let mut room = vec![0; ROOM_BYTES];
        // The kernel has answered when the call returns.
        let (count, _) = recv(&socket, &mut room[..], RecvFlags::DONTWAIT)?;
        let (kind, content) = next_message(&mut &room[..count]).ok_or(io::ErrorKind::InvalidData)?;
        Self::read(kind, content).map(|(_, state)| state).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// What a message tells, and of which interface; nothing if it is another one.
    fn read(kind: u16, content: &[u8]) -> Option<(u32, Self)> {
        let (begin, attributes) = content.split_first_chunk::<LINK_BYTES>()?;
        // Those of another family tell of a bridge's work.
        if kind != libc::RTM_NEWLINK || begin[0] != 0 {
            return None;
        }
        let word = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_ne_bytes);
        let mac = MacAddr(attribute(attributes, libc::IFLA_ADDRESS)?.try_into().ok()?);
        let kind = attribute(attributes, LINK_INFO).and_then(|info| attribute(info, libc::IFLA_INFO_SLAVE_KIND));
        let master = attribute(attributes, libc::IFLA_MASTER).and_then(word);
        // One that only has routes of its own has packets as they come.
        let port_of = master.zip(Some(kind.map_or_else(String::new, text))).filter(|(_, kind)| kind != "vrf");
        let is_up = word(&begin[8..12])? & UP == UP;
        let name = attribute(attributes, libc::IFLA_IFNAME).map(text).unwrap_or_default();
        Some((word(&begin[4..8])?, Self { mac, port_of, is_up, name }))
    }

    /// What it is a port of, if it is one.
    pub(super) fn port_of(&self) -> Option<String> {
        let (index, kind) = self.port_of.as_ref()?;
        let name = Self::ask(*index).map_or_else(|_| format!("interface {index}"), |master| master.name);
        Some(if kind.is_empty() { name } else { format!("the {kind} {name}") })
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?)
}

/// Hears what changes, which the program and the stack do not follow by themselves.
#[derive(Debug)]
pub(super) struct KernelWatch {
    name: String,
    /// The interface's index.
    index: u32,
    /// What the stack shares with the kernel: the hardware address, and where IP addresses are told.
    shared: Option<(MacAddr, XdpAddresses)>,
    socket: OwnedFd,
    room: Box<[u8]>,
    /// As it was told last.
    last: LinkState,
    /// Whether something was not heard.
    is_behind: bool,
    next_at: Instant,
    reconnects: u64,
}

impl KernelWatch {
    /// For an interface that was as `state` a short while ago.
    pub(super) fn open(
        name: &str,
        index: u32,
        state: LinkState,
        shared: Option<(MacAddr, XdpAddresses)>,
    ) -> io::Result<Self> {
        let socket = open()?;
        let groups = if shared.is_some() { LINKS | ADDRESSES } else { LINKS };
        bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        let (name, room) = (name.to_owned(), vec![0; ROOM_BYTES].into());
        Ok(Self {
            name,
            index,
            shared,
            socket,
            room,
            last: state,
            is_behind: true,
            next_at: Instant::ORIGIN,
            reconnects: 0,
        })
    }

    /// Looks what has changed, unless that was done within a second, and the shard has not slept since.
    pub(super) fn look(&mut self, now: Instant, has_slept: bool) {
        if now < self.next_at && !has_slept {
            return;
        }
        self.next_at = now + PAUSE;
        let mut changed = BTreeSet::new();
        for _ in 0..MAX_READS {
            match recv(&self.socket, &mut self.room[..], RecvFlags::empty()) {
                Ok((count, _)) => self.read(count, &mut changed),
                Err(Errno::NOBUFS) => self.is_behind = true,
                Err(_) => break,
            }
        }
        if std::mem::take(&mut self.is_behind) {
            // An interface that is gone has no state, which others tell of.
            LinkState::ask(self.index).into_iter().for_each(|state| self.follow(state));
            if let Some((_, addresses)) = &self.shared {
                changed.extend(addresses.whole());
            }
        }
        if let Some((_, addresses)) = &self.shared {
            changed.into_iter().for_each(|address| addresses.follow_kernel(address));
        }
    }

    /// How often the link has come up again.
    pub(super) fn reconnects(&self) -> u64 {
        self.reconnects
    }

    /// Takes note of some messages: of the interface, and of the kernel's addresses, wherever they are.
    fn read(&mut self, count: usize, changed: &mut BTreeSet<IpAddr>) {
        let mut states = Vec::new();
        let mut left = &self.room[..count];
        while let Some((kind, content)) = next_message(&mut left) {
            states.extend(LinkState::read(kind, content).filter(|(of, _)| *of == self.index));
            changed.extend(address(kind, content));
        }
        states.into_iter().for_each(|(_, state)| self.follow(state));
    }

    fn follow(&mut self, state: LinkState) {
        let last = std::mem::replace(&mut self.last, state);
        let Self { name, shared, last: state, reconnects, .. } = self;
        match (last.is_up, state.is_up) {
            (true, false) => log::warn!("xdp:{name}: its link is down: nothing comes or goes until it is up again"),
            (false, true) => {
                *reconnects += 1;
                log::info!("xdp:{name}: its link is up again");
            }
            _ => {}
        }
        if let Some((own, _)) = shared
            && state.mac != last.mac
        {
            let mac = state.mac;
            if mac == *own {
                log::info!("xdp:{name}: its hardware address is {own} again");
            } else {
                log::error!(
                    "xdp:{name}: its hardware address is {mac} now, and the stack's is {own} still: nothing comes for the stack until it \
                     is that again, or this process is started again"
                );
            }
        }
        if state.port_of != last.port_of {
            match state.port_of() {
                Some(master) => warn_of_port(name, &master),
                None => log::info!("xdp:{name}: it is no port any more"),
            }
        }
    }
}

/// Tells that an interface is a port.
pub(super) fn warn_of_port(name: &str, master: &str) {
    log::warn!(
        "xdp:{name}: it is a port of {master}: the stack is reached only from the other end of its wire, by no other port and not by the \
         kernel (xdp:IFNAME needs an interface that is no port)"
    );
}

/// The IP address that a message says has come or gone.
fn address(kind: u16, content: &[u8]) -> Option<IpAddr> {
    if !matches!(kind, libc::RTM_NEWADDR | libc::RTM_DELADDR) {
        return None;
    }
    let attributes = content.get(ADDRESS_BYTES..)?;
    // The other one is that of the other end, where there are two.
    let bytes = attribute(attributes, libc::IFA_LOCAL).or_else(|| attribute(attributes, libc::IFA_ADDRESS))?;
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        _ => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
    }
}

impl AsFd for KernelWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

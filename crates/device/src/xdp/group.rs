//! What comes for several hosts at once: broadcasts, such as ARP, and multicasts, such as what IPv6 looks for neighbours by.
//!
//! Kernel and stack both want it, and a program at the interface can give a frame to one only. So it goes the kernel's way, and the kernel
//! gives a copy of it to a packet socket (packet(7)). It is little. The socket also has the interface receive what is for the stack's
//! address, and tells when the interface goes down.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, socklen_t};
use rustix::event::epoll;
use sunstar_packet::{BufferMut, Packet};
use sunstar_virtio::net::{HEADER_BYTES, decode};
use sunstar_wire::MacAddr;

use crate::netdevice::{answer, read_packet};

/// Bytes of the header before each packet: that of virtio without its last field.
const SHORT_HEADER_BYTES: usize = HEADER_BYTES - 2;

/// `PACKET_IGNORE_OUTGOING`.
const IGNORE_OUTGOING: c_int = 23;

/// Where a filter finds whether the device has taken out a VLAN tag (`SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT`).
const VLAN_TAG_PRESENT: u32 = 0xffff_f000 + 48;

/// Takes frames whose address has the bit of groups, if they have no tag: tagged ones are another network's. In instructions of
/// classic BPF, of which jumps say how many instructions to skip.
const FILTER: [libc::sock_filter; 6] = [
    filter(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 0),
    filter(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 1, 0, 3),
    filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, VLAN_TAG_PRESENT, 0, 0),
    filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 0, 1),
    filter(libc::BPF_RET | libc::BPF_K, u32::MAX, 0, 0),
    filter(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
];

#[expect(clippy::cast_possible_truncation, reason = "codes are small, and have 16 bits in the structure")]
const fn filter(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

/// A small number, which has 16 bits in a structure.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "these constants are small")]
const fn half(value: c_int) -> u16 {
    value as u16
}

/// Receives what comes for groups.
#[derive(Debug)]
pub(super) struct GroupSocket(OwnedFd);

/// What came of an attempt to receive.
pub(super) enum Received {
    Packet(Packet),
    /// One that was too long, or whose metadata make no sense.
    Malformed,
    Nothing,
    /// The interface has gone down.
    Down,
    /// It was deleted.
    Gone,
}

impl GroupSocket {
    /// For an interface, at which the stack has that address.
    pub(super) fn open(interface: u32, mac: MacAddr) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // Without a protocol it receives nothing before it is bound.
        // SAFETY: no memory is involved.
        let descriptor = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        answer(descriptor)?;
        // SAFETY: it was just opened, and nobody else knows it.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(descriptor) });
        let index = c_int::try_from(interface).map_err(io::Error::other)?;
        let mut filter = FILTER;
        let filter = libc::sock_fprog { len: 6, filter: filter.as_mut_ptr() };
        socket.set(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)?;
        socket.set(libc::SOL_PACKET, IGNORE_OUTGOING, &1)?;
        socket.set(libc::SOL_PACKET, libc::PACKET_VNET_HDR, &1)?;
        let MacAddr([a, b, c, d, e, f]) = mac;
        let own = libc::packet_mreq {
            mr_ifindex: index,
            mr_type: half(libc::PACKET_MR_UNICAST),
            mr_alen: 6,
            mr_address: [a, b, c, d, e, f, 0, 0],
        };
        socket.set(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &own)?;
        let groups = libc::packet_mreq { mr_type: half(libc::PACKET_MR_ALLMULTI), mr_alen: 0, ..own };
        socket.set(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &groups)?;
        socket.bind(index)?;
        Ok(socket)
    }

    fn bind(&self, index: c_int) -> io::Result<()> {
        // SAFETY: all of it are numbers that may be zero.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = half(libc::AF_PACKET);
        address.sll_protocol = half(libc::ETH_P_ALL).to_be();
        address.sll_ifindex = index;
        // SAFETY: the address is of its type, and of that size.
        answer(unsafe { libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), bytes_of(&address)) })
    }

    /// Sets an option, which takes a `T`.
    fn set<T>(&self, level: c_int, option: c_int, value: &T) -> io::Result<()> {
        // SAFETY: the callers, all in this file, pass the type that the option takes, and what it points to lives.
        let result = unsafe {
            libc::setsockopt(self.0.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), bytes_of(value))
        };
        answer(result)
    }

    /// Receives a packet into an empty frame, which is left if there is none.
    pub(super) fn receive(&self, frame: &mut Option<BufferMut>) -> io::Result<Received> {
        let mut header = [0; HEADER_BYTES];
        let read = read_packet(&self.0, &mut header[..SHORT_HEADER_BYTES], frame.as_mut_slice());
        match read.as_ref().map_err(io::Error::raw_os_error) {
            Ok(_) => {}
            Err(Some(libc::EAGAIN)) => return Ok(Received::Nothing),
            Err(Some(libc::ENETDOWN)) => return Ok(Received::Down),
            Err(Some(libc::ENODEV | libc::ENXIO)) => return Ok(Received::Gone),
            Err(_) => return read.map(|_| Received::Nothing),
        }
        let Some(frame) = frame.take() else { return Ok(Received::Nothing) };
        if frame.tailroom() == 0 {
            return Ok(Received::Malformed);
        }
        let mut packet = Packet::from(frame.freeze());
        Ok(match decode(&header, &packet) {
            Ok(offload) if !packet.is_empty() => {
                packet.offload = offload;
                Received::Packet(packet)
            }
            _ => Received::Malformed,
        })
    }
}

fn bytes_of<T>(value: &T) -> socklen_t {
    socklen_t::try_from(size_of_val(value)).unwrap_or(socklen_t::MAX)
}

impl AsFd for GroupSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits for several descriptors by one.
///
/// The socket is among them only while the queue may sleep. The kernel calls whoever waits for a socket for each packet that comes and for
/// each that was sent, which is a tenth of all that a small packet costs.
#[derive(Debug)]
pub(super) struct Both {
    epoll: OwnedFd,
    /// What is waited for at the socket; nothing if it is not among them.
    awaited: epoll::EventFlags,
}

impl Both {
    /// For what receives for groups, and a socket.
    pub(super) fn new(group: &GroupSocket) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, group, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        Ok(Self { epoll, awaited: epoll::EventFlags::empty() })
    }

    /// Has it wait for what comes to the socket, which is always the same, and for room in it if that is awaited.
    pub(super) fn arm(&mut self, socket: BorrowedFd<'_>, writes: bool) -> io::Result<()> {
        let out = if writes { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
        let (awaited, data) = (epoll::EventFlags::IN | out, epoll::EventData::new_u64(0));
        if self.awaited.is_empty() {
            epoll::add(&self.epoll, socket, data, awaited)?;
        } else if self.awaited != awaited {
            epoll::modify(&self.epoll, socket, data, awaited)?;
        }
        self.awaited = awaited;
        Ok(())
    }

    /// Has it wait for the socket no longer.
    pub(super) fn disarm(&mut self, socket: BorrowedFd<'_>) {
        // One that stays costs time, and is right all the same.
        if !self.awaited.is_empty() && epoll::delete(&self.epoll, socket).is_ok() {
            self.awaited = epoll::EventFlags::empty();
        }
    }
}

impl AsFd for Both {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

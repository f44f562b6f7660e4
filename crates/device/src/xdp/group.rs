//! What comes for several hosts at once: broadcasts, such as ARP, and multicasts, such as what IPv6 looks for neighbours by.
//!
//! Kernel and stack both want it, and a program at the interface can give a frame to one only. So it goes the kernel's way, and the kernel
//! gives a copy of it to a packet socket (packet(7)). It is little. So goes what is for both at a hardware address that they share: answers of ARP, and if
//! they share IP addresses too, what ICMP says of neighbours and errors. The socket also has the interface receive what is for an
//! address of the stack's own, and tells when the interface goes down.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, socklen_t};
use rustix::event::epoll;
use sunstar_packet::{BufferMut, Packet};
use sunstar_virtio::net::{HEADER_BYTES, decode};
use sunstar_wire::MacAddr;

use super::kernel_watch::KernelWatch;
use crate::netdevice::{answer, read_packet};

#[cfg(test)]
mod tests;

/// Bytes of the header before each packet: that of virtio without its last field.
const SHORT_HEADER_BYTES: usize = HEADER_BYTES - 2;

/// `PACKET_IGNORE_OUTGOING`.
const IGNORE_OUTGOING: c_int = 23;

/// Where a filter finds whether the device has taken out a VLAN tag (`SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT`).
const VLAN_TAG_PRESENT: u32 = 0xffff_f000 + 48;

/// Of which frames for the stack's hardware address there are copies beside those for groups. Of those that have a tag there are none: they
/// are another network's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copies {
    /// None: the address is the stack's own.
    Groups(MacAddr),
    /// ARP: the address is the kernel's, too.
    Neighbours,
    /// Also of ICMP's errors, and of its messages about neighbours: so are IP addresses. Who asks for an echo is answered by the kernel.
    NeighboursAndErrors,
}

impl Copies {
    /// What takes those: instructions of classic BPF.
    const fn filter(self) -> &'static [libc::sock_filter] {
        match self {
            Self::Groups(_) => &GROUPS,
            Self::Neighbours => &NEIGHBOURS,
            Self::NeighboursAndErrors => &NEIGHBOURS_AND_ERRORS,
        }
    }
}

const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
/// Into the index: four times the lower half of a byte.
const LOAD_LENGTH: u32 = libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH;
const LOAD_BYTE_AT_INDEX: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_IND;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const TAKE: libc::sock_filter = filter(libc::BPF_RET | libc::BPF_K, u32::MAX, 0, 0);
const LEAVE: libc::sock_filter = filter(libc::BPF_RET | libc::BPF_K, 0, 0, 0);

/// In the first byte of an address.
const GROUP_BIT: u32 = 1;

// Offsets in a frame without a tag.
const ETHERTYPE: u32 = 12;
const IP: u32 = 14;
const V4_FRAGMENT: u32 = 20;
const V4_PROTOCOL: u32 = 23;
const V6_NEXT_HEADER: u32 = 20;
const V6_TYPE: u32 = 54;

const ARP: u32 = 0x0806;
const V4: u32 = 0x0800;
const V6: u32 = 0x86dd;
/// Whether there are more fragments, and where this one begins.
const FRAGMENT_BITS: u32 = 0x3fff;
const ICMP: u32 = 1;
const ICMP_V6: u32 = 58;
// Types of ICMP (RFC 792): destination unreachable, time exceeded, parameter problem.
const V4_ERRORS: [u32; 3] = [3, 11, 12];
// Types of ICMPv6: errors (RFC 4443 §2.1), and neighbour discovery (RFC 4861 §4).
const V6_ERRORS: [u32; 2] = [1, 4];
const V6_NEIGHBOURS: [u32; 2] = [133, 137];

const GROUPS: [libc::sock_filter; 6] = [
    filter(LOAD_WORD, VLAN_TAG_PRESENT, 0, 0),
    jump(1, EQUAL, 0, 2, 5),
    filter(LOAD_BYTE, 0, 0, 0),
    jump(3, ANY_BIT, GROUP_BIT, 4, 5),
    TAKE,
    LEAVE,
];

const NEIGHBOURS: [libc::sock_filter; 8] = [
    filter(LOAD_WORD, VLAN_TAG_PRESENT, 0, 0),
    jump(1, EQUAL, 0, 2, 7),
    filter(LOAD_BYTE, 0, 0, 0),
    jump(3, ANY_BIT, GROUP_BIT, 6, 4),
    filter(LOAD_HALF, ETHERTYPE, 0, 0),
    jump(5, EQUAL, ARP, 6, 7),
    TAKE,
    LEAVE,
];

const NEIGHBOURS_AND_ERRORS: [libc::sock_filter; 26] = [
    filter(LOAD_WORD, VLAN_TAG_PRESENT, 0, 0),
    jump(1, EQUAL, 0, 2, 25),
    filter(LOAD_BYTE, 0, 0, 0),
    jump(3, ANY_BIT, GROUP_BIT, 24, 4),
    filter(LOAD_HALF, ETHERTYPE, 0, 0),
    jump(5, EQUAL, ARP, 24, 6),
    jump(6, EQUAL, V6, 17, 7),
    jump(7, EQUAL, V4, 8, 25),
    filter(LOAD_BYTE, V4_PROTOCOL, 0, 0),
    jump(9, EQUAL, ICMP, 10, 25),
    filter(LOAD_HALF, V4_FRAGMENT, 0, 0),
    jump(11, ANY_BIT, FRAGMENT_BITS, 25, 12),
    filter(LOAD_LENGTH, IP, 0, 0),
    filter(LOAD_BYTE_AT_INDEX, IP, 0, 0),
    jump(14, EQUAL, V4_ERRORS[0], 24, 15),
    jump(15, EQUAL, V4_ERRORS[1], 24, 16),
    jump(16, EQUAL, V4_ERRORS[2], 24, 25),
    filter(LOAD_BYTE, V6_NEXT_HEADER, 0, 0),
    jump(18, EQUAL, ICMP_V6, 19, 25),
    filter(LOAD_BYTE, V6_TYPE, 0, 0),
    jump(20, AT_LEAST, V6_NEIGHBOURS[1] + 1, 25, 21),
    jump(21, AT_LEAST, V6_NEIGHBOURS[0], 24, 22),
    jump(22, AT_LEAST, V6_ERRORS[1] + 1, 25, 23),
    jump(23, AT_LEAST, V6_ERRORS[0], 24, 25),
    TAKE,
    LEAVE,
];

/// A jump that stands at `at`, and leads on to either place behind it.
const fn jump(at: u8, code: u32, k: u32, yes: u8, no: u8) -> libc::sock_filter {
    filter(code, k, yes - at - 1, no - at - 1)
}

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
    /// For an interface.
    pub(super) fn open(interface: u32, copies: Copies) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // Without a protocol it receives nothing before it is bound.
        // SAFETY: no memory is involved.
        let descriptor = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        answer(descriptor)?;
        // SAFETY: it was just opened, and nobody else knows it.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(descriptor) });
        let index = c_int::try_from(interface).map_err(io::Error::other)?;
        attach(&socket.0, copies.filter())?;
        set(&socket.0, libc::SOL_PACKET, IGNORE_OUTGOING, &1)?;
        set(&socket.0, libc::SOL_PACKET, libc::PACKET_VNET_HDR, &1)?;
        let groups = libc::packet_mreq {
            mr_ifindex: index,
            mr_type: half(libc::PACKET_MR_ALLMULTI),
            mr_alen: 0,
            mr_address: [0; 8],
        };
        set(&socket.0, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &groups)?;
        if let Copies::Groups(MacAddr([a, b, c, d, e, f])) = copies {
            let mr_address = [a, b, c, d, e, f, 0, 0];
            let own = libc::packet_mreq { mr_type: half(libc::PACKET_MR_UNICAST), mr_alen: 6, mr_address, ..groups };
            set(&socket.0, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &own)?;
        }
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

/// Has a socket take only what a filter takes.
fn attach(socket: &impl AsRawFd, filter: &[libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(filter.len()).map_err(io::Error::other)?;
    // The kernel only reads it.
    let filter = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)
}

/// Sets an option, which takes a `T`.
fn set<T>(socket: &impl AsRawFd, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the callers, all in this file, pass the type that the option takes, and what it points to lives.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), bytes_of(value))
    };
    answer(result)
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
    /// For what receives for groups, what hears of changes, and a socket.
    pub(super) fn new(group: &GroupSocket, watch: &KernelWatch) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, group, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        epoll::add(&epoll, watch, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
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

//! What the kernel tells of interfaces and has changed about them, netdevice(7), with the unsafe code for it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, c_short, c_ulong};
use sunstar_packet::{BufferMut, MAX_BUFFERS};
use sunstar_wire::MacAddr;

/// The longest name of an interface, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = libc::IFNAMSIZ - 1;

/// `ETHTOOL_GCHANNELS`.
const GET_CHANNELS: u32 = 0x3c;

/// `struct ethtool_channels`: what is asked for, then how many queues there can be and how many there are, of those that receive, that
/// send, that do something else, and that do both.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    max: [u32; 4],
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// Whether an interface may have that name, if it is not too long.
pub(crate) fn is_name(name: &str) -> bool {
    let is_graphic = name.bytes().all(|byte| byte.is_ascii_graphic() && !b"/:".contains(&byte));
    is_graphic && !matches!(name, "" | "." | "..")
}

/// An address for a host beside the kernel's at an interface: of the same kind, locally administered, one bit apart.
pub(crate) fn beside(MacAddr([a, b, c, d, e, f]): MacAddr) -> MacAddr {
    MacAddr([a | 2, b, c, d, e, f ^ 1])
}

/// Asks about interfaces, by name, in the network namespace of the thread that made it.
pub(crate) struct Control(OwnedFd);

impl Control {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no memory is involved.
        let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        answer(fd)?;
        // SAFETY: it was just opened, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Whether there is such an interface.
    pub(crate) fn exists(&self, name: &str) -> bool {
        self.ask(name, libc::SIOCGIFINDEX).is_ok()
    }

    /// The number that an interface has until it is deleted; `None` if there is no such interface.
    pub(crate) fn index(&self, name: &str) -> io::Result<Option<u32>> {
        match self.ask(name, libc::SIOCGIFINDEX) {
            // SAFETY: the kernel has written this field.
            Ok(answer) => Ok(Some(unsafe { answer.ifr_ifru.ifru_ifindex }.cast_unsigned())),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How many queues of an interface receive; `None` if the driver does not tell.
    pub(crate) fn rx_queues(&self, name: &str) -> io::Result<Option<usize>> {
        let mut channels = Channels { command: GET_CHANNELS, ..Channels::default() };
        let mut request = request(name)?;
        request.ifr_ifru.ifru_data = (&raw mut channels).cast();
        match call(&self.0, libc::SIOCETHTOOL, &mut request) {
            Ok(()) => usize::try_from(channels.rx + channels.combined).map(Some).map_err(io::Error::other),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The MTU of an interface, in bytes.
    pub(crate) fn mtu(&self, name: &str) -> io::Result<usize> {
        let answer = self.ask(name, libc::SIOCGIFMTU)?;
        // SAFETY: the kernel has written this field.
        usize::try_from(unsafe { answer.ifr_ifru.ifru_mtu }).map_err(io::Error::other)
    }

    /// Sets the MTU of an interface, in bytes.
    pub(crate) fn set_mtu(&self, name: &str, mtu_bytes: usize) -> io::Result<()> {
        let mut request = request(name)?;
        request.ifr_ifru.ifru_mtu = c_int::try_from(mtu_bytes).map_err(io::Error::other)?;
        call(&self.0, libc::SIOCSIFMTU, &mut request)
    }

    /// Sets how many packets may wait at an interface.
    pub(crate) fn set_tx_queue(&self, name: &str, packets: u32) -> io::Result<()> {
        let mut request = request(name)?;
        // The field is a number that the MTU shares (`ifr_qlen`).
        request.ifr_ifru.ifru_mtu = c_int::try_from(packets).map_err(io::Error::other)?;
        call(&self.0, libc::SIOCSIFTXQLEN, &mut request)
    }

    /// The kernel's own address at an interface.
    pub(crate) fn mac(&self, name: &str) -> io::Result<MacAddr> {
        let answer = self.ask(name, libc::SIOCGIFHWADDR)?;
        // SAFETY: the kernel has written this field.
        let [a, b, c, d, e, f, ..] = unsafe { answer.ifr_ifru.ifru_hwaddr }.sa_data;
        Ok(MacAddr([a, b, c, d, e, f].map(|byte| byte.cast_unsigned())))
    }

    /// Puts an interface up.
    pub(crate) fn set_up(&self, name: &str) -> io::Result<()> {
        let mut request = self.ask(name, libc::SIOCGIFFLAGS)?;
        // SAFETY: the kernel has written this field.
        let flags = unsafe { request.ifr_ifru.ifru_flags };
        request.ifr_ifru.ifru_flags = flags | c_short::try_from(libc::IFF_UP).map_err(io::Error::other)?;
        call(&self.0, libc::SIOCSIFFLAGS, &mut request)
    }

    fn ask(&self, name: &str, number: c_ulong) -> io::Result<libc::ifreq> {
        let mut request = request(name)?;
        call(&self.0, number, &mut request)?;
        Ok(request)
    }
}

/// An address of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KernelAddress {
    pub(crate) ip: IpAddr,
    /// The index of its interface if it is a link-local one of IPv6, which means something else at another interface; else zero.
    pub(crate) scope: u32,
}

/// All IP addresses that the kernel has in the network namespace of the thread, secondary ones among them, and such that it is still asking others about.
pub(crate) fn kernel_addresses() -> io::Result<Vec<KernelAddress>> {
    let mut first = std::ptr::null_mut();
    // SAFETY: it writes a pointer to a list, which is freed below and nowhere else.
    answer(unsafe { libc::getifaddrs(&raw mut first) })?;
    let mut found = Vec::new();
    let mut next = first;
    // SAFETY: it is null, or points to an element of the list, which lives until it is freed.
    while let Some(element) = unsafe { next.as_ref() } {
        // SAFETY: it is null, or the address of a structure of the kind that its family says, which lives as long.
        found.extend(unsafe { ip_address(element.ifa_addr) });
        next = element.ifa_next;
    }
    // SAFETY: it is the list from above, of which nothing is borrowed any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(found)
}

/// The IP address that a socket's address has, if it has one.
///
/// # Safety
/// The pointer is null, or that of an address that is as long as its family has them.
unsafe fn ip_address(address: *const libc::sockaddr) -> Option<KernelAddress> {
    // SAFETY: the family is the first field of all of them.
    match c_int::from(unsafe { address.as_ref() }?.sa_family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is this structure; it need not be aligned.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            let ip = Ipv4Addr::from_bits(u32::from_be(v4.sin_addr.s_addr));
            Some(KernelAddress { ip: ip.into(), scope: 0 })
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(KernelAddress { ip: Ipv6Addr::from(v6.sin6_addr.s6_addr).into(), scope: v6.sin6_scope_id })
        }
        _ => None,
    }
}

/// A request about an interface, zero but for the name.
pub(crate) fn request(name: &str) -> io::Result<libc::ifreq> {
    if name.len() > MAX_NAME_BYTES {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    // SAFETY: all of it are numbers and pointers that may be zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte.cast_signed();
    }
    Ok(request)
}

/// Calls ioctl(2) with a request that reads or writes one `T`, which all requests here do.
pub(crate) fn call<T>(fd: &impl AsRawFd, number: c_ulong, argument: &mut T) -> io::Result<()> {
    // SAFETY: the callers, here and in `tap/sys.rs`, pass the type that the request is about, and it lives throughout the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), number, std::ptr::from_mut(argument)) };
    answer(result)
}

pub(crate) fn answer(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Receives one packet from a descriptor that gives one per read: its header, and its bytes into the tail rooms of `frames` (at most [`MAX_BUFFERS`]), one after the other. Answers
/// how many bytes there were with the header; a packet that is longer than the room is cut.
pub(crate) fn read_packet(queue: &impl AsRawFd, header: &mut [u8], frames: &mut [BufferMut]) -> io::Result<usize> {
    let mut vectors = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; MAX_BUFFERS + 1];
    vectors[0] = libc::iovec { iov_base: header.as_mut_ptr().cast(), iov_len: header.len() };
    let mut count: c_int = 1;
    for (vector, frame) in vectors[1..].iter_mut().zip(frames.iter_mut()) {
        let room = frame.spare();
        *vector = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
        count += 1;
    }
    // SAFETY: the first `count` vectors describe the header and the tail rooms of frames, all borrowed for writing until
    // this function returns; the call only writes to them.
    let result = unsafe { libc::readv(queue.as_raw_fd(), vectors.as_ptr(), count) };
    let Ok(total) = usize::try_from(result) else { return Err(io::Error::last_os_error()) };
    let mut left = total.saturating_sub(header.len());
    for frame in frames.iter_mut().take(MAX_BUFFERS) {
        let filled = left.min(frame.tailroom());
        // SAFETY: the kernel has filled the tail rooms in this order, `left` bytes in all from here on.
        unsafe { frame.advance_len(filled) };
        left -= filled;
        if left == 0 {
            break;
        }
    }
    Ok(total)
}

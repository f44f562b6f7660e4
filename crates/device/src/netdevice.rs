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

/// `ETHTOOL_GRXFH`.
const GET_FLOW_FIELDS: u32 = 0x29;

/// The part of `struct ethtool_rxnfc` that this is about, which the kernel takes for all of it: what is asked for, the kind of
/// flow, and what is answered.
#[repr(C)]
struct FlowFields {
    command: u32,
    flow_type: u32,
    data: u64,
}

/// `ETHTOOL_GRSSH`.
const GET_FLOW_HASH: u32 = 0x46;

/// 32-bit words of `struct ethtool_rxfh` before the table, and the places of the sizes of table and key.
pub(crate) const FLOW_HASH_WORDS: usize = 6;
const TABLE_SIZE: usize = 2;
const KEY_SIZE: usize = 3;

/// Larger ones than any network card's are not asked for: entries of a table, and bytes of a key.
const MAX_TABLE_SIZE: u32 = 1 << 16;
const MAX_KEY_BYTES: u32 = 1_024;

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
        match self.ask_driver(name, &mut channels) {
            Ok(()) => usize::try_from(channels.rx + channels.combined).map(Some).map_err(io::Error::other),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Which fields of a kind of flow go into the hash by which an interface chooses queues: `RXH_*` of linux/ethtool.h.
    pub(crate) fn flow_fields(&self, name: &str, flow_type: u32) -> io::Result<u64> {
        let mut fields = FlowFields { command: GET_FLOW_FIELDS, flow_type, data: 0 };
        self.ask_driver(name, &mut fields)?;
        Ok(fields.data)
    }

    /// The hash by which an interface chooses queues: a `struct ethtool_rxfh` of [`FLOW_HASH_WORDS`], and behind it the table and the key, of
    /// the sizes that it says.
    pub(crate) fn flow_hash(&self, name: &str) -> io::Result<Vec<u32>> {
        flow_hash(|words| self.ask_driver(name, words))
    }

    /// Asks the driver of an interface by a structure of ethtool(8), which is as long as its fields tell the kernel.
    fn ask_driver<T: ?Sized>(&self, name: &str, data: &mut T) -> io::Result<()> {
        let mut request = request(name)?;
        request.ifr_ifru.ifru_data = std::ptr::from_mut(data).cast();
        call(&self.0, libc::SIOCETHTOOL, &mut request)
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

/// Asks for a `struct ethtool_rxfh` twice, first for the sizes of what is in it.
fn flow_hash(mut ask: impl FnMut(&mut [u32]) -> io::Result<()>) -> io::Result<Vec<u32>> {
    let mut answer = vec![GET_FLOW_HASH, 0, 0, 0, 0, 0];
    ask(&mut answer)?;
    let (entries, key_bytes) = (answer[TABLE_SIZE], answer[KEY_SIZE]);
    if entries > MAX_TABLE_SIZE || key_bytes > MAX_KEY_BYTES {
        return Err(io::Error::other(format!("{entries} entries, and a key of {key_bytes} bytes")));
    }
    let words = entries as usize + (key_bytes as usize).div_ceil(4);
    answer = vec![GET_FLOW_HASH, 0, entries, key_bytes, 0, 0];
    answer.resize(FLOW_HASH_WORDS + words, 0);
    // The kernel refuses sizes that are not right any more.
    ask(&mut answer)?;
    Ok(answer)
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
    // SAFETY: the callers, here and in `tap/sys.rs`, pass the type that the request is about, and it lives throughout the call, as does what
    // it points to.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as the kernel does for a driver with a table and a key of that many bytes.
    fn kernel(words: &mut [u32], table: &[u32], key: &[u32], key_bytes: u32) -> io::Result<()> {
        assert_eq!((words[0], words[1], words[4], words[5]), (GET_FLOW_HASH, 0, 0, 0), "what is reserved is zero");
        let sizes = [u32::try_from(table.len()).unwrap(), key_bytes];
        let asked = [words[TABLE_SIZE], words[KEY_SIZE]];
        words[TABLE_SIZE..=KEY_SIZE].copy_from_slice(&sizes);
        if asked.iter().zip(sizes).any(|(asked, size)| *asked != 0 && *asked != size) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        words[4] = u32::from_ne_bytes([1, 0, 0, 0]);
        let room = &mut words[FLOW_HASH_WORDS..];
        let (of_table, rest) = room.split_at_mut(asked[0] as usize);
        of_table.copy_from_slice(&table[..asked[0] as usize]);
        rest.copy_from_slice(&key[..asked[1].div_ceil(4) as usize]);
        Ok(())
    }

    #[test]
    fn a_hash_has_as_much_room_as_its_driver_says() {
        let (table, key) = ([7; 512], [9; 13]);
        for (table, key, key_bytes) in [(&table[..], &key[..], 52), (&table[..128], &key[..10], 40), (&[], &[], 0)] {
            let answer = flow_hash(|words| kernel(words, table, key, key_bytes)).unwrap();
            let (header, content) = answer.split_at(FLOW_HASH_WORDS);
            assert_eq!(header[2..4], [u32::try_from(table.len()).unwrap(), key_bytes]);
            assert_eq!(content, [table, key].concat());
        }
    }

    #[test]
    fn a_hash_that_changes_meanwhile_or_is_too_large_is_refused() {
        let mut tables = [&[0; 128][..], &[0; 256]].into_iter();
        let changed = flow_hash(|words| kernel(words, tables.next().unwrap(), &[0; 10], 40));
        assert_eq!(changed.unwrap_err().raw_os_error(), Some(libc::EINVAL));
        for sizes in [[u32::MAX, 40], [128, u32::MAX]] {
            let grows = |words: &mut [u32]| {
                assert_eq!(words.len(), FLOW_HASH_WORDS);
                words[TABLE_SIZE..=KEY_SIZE].copy_from_slice(&sizes);
                Ok(())
            };
            assert!(flow_hash(grows).is_err());
        }
    }
}

//! The system calls of TAP devices, tun(4) and netdevice(7): all of the unsafe code.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use libc::{c_int, c_short, c_ulong};
use sunstar_packet::{BufferMut, MAX_BUFFERS};
use sunstar_virtio::net::HEADER_BYTES;
use sunstar_wire::MacAddr;

/// The longest name of an interface, in bytes.
pub(super) const MAX_NAME_BYTES: usize = libc::IFNAMSIZ - 1;

const NODE: &str = "/dev/net/tun";

/// Opens the node by which interfaces are made and attached to.
pub(super) fn open_node() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(NODE)
}

/// Makes an open node a queue of the TAP `name`, which is made if there is none. Answers the name, in which the kernel has put
/// a number for `%d`.
pub(super) fn attach(node: &File, name: &str, multi_queue: bool) -> io::Result<String> {
    let mut flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    if multi_queue {
        flags |= libc::IFF_MULTI_QUEUE;
    }
    let mut request = request(name)?;
    // The flags are 16 bits, of which the highest is none of these.
    request.ifr_ifru.ifru_flags = c_short::try_from(flags).map_err(io::Error::other)?;
    call(node, libc::TUNSETIFF, &mut request)?;
    let bytes: Vec<u8> =
        request.ifr_name.iter().map(|byte| byte.cast_unsigned()).take_while(|&byte| byte != 0).collect();
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// Has the header before each packet be of virtio 1.0: little endian, 12 bytes.
pub(super) fn set_header(queue: &File) -> io::Result<()> {
    let mut size = c_int::try_from(HEADER_BYTES).map_err(io::Error::other)?;
    call(queue, libc::TUNSETVNETHDRSZ, &mut size)?;
    let mut is_little_endian: c_int = 1;
    call(queue, libc::TUNSETVNETLE, &mut is_little_endian)
}

/// Says which offloads (`TUN_F_*`) received packets may use.
pub(super) fn set_offload(queue: &File, bits: libc::c_uint) -> io::Result<()> {
    // SAFETY: this request takes a number, and the descriptor is open as long as the file is.
    let result = unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNSETOFFLOAD, c_ulong::from(bits)) };
    answer(result)
}

/// Asks about interfaces, by name, in the network namespace of the thread that made it.
pub(super) struct Control(OwnedFd);

impl Control {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no memory is involved.
        let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        answer(fd)?;
        // SAFETY: it was just opened, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Whether there is such an interface.
    pub(super) fn exists(&self, name: &str) -> bool {
        self.ask(name, libc::SIOCGIFINDEX).is_ok()
    }

    /// The MTU of an interface, in bytes.
    pub(super) fn mtu(&self, name: &str) -> io::Result<usize> {
        let answer = self.ask(name, libc::SIOCGIFMTU)?;
        // SAFETY: the kernel has written this field.
        usize::try_from(unsafe { answer.ifr_ifru.ifru_mtu }).map_err(io::Error::other)
    }

    /// Sets the MTU of an interface, in bytes.
    pub(super) fn set_mtu(&self, name: &str, mtu_bytes: usize) -> io::Result<()> {
        let mut request = request(name)?;
        request.ifr_ifru.ifru_mtu = c_int::try_from(mtu_bytes).map_err(io::Error::other)?;
        call(&self.0, libc::SIOCSIFMTU, &mut request)
    }

    /// Sets how many packets may wait at an interface.
    pub(super) fn set_tx_queue(&self, name: &str, packets: u32) -> io::Result<()> {
        let mut request = request(name)?;
        // The field is a number that the MTU shares (`ifr_qlen`).
        request.ifr_ifru.ifru_mtu = c_int::try_from(packets).map_err(io::Error::other)?;
        call(&self.0, libc::SIOCSIFTXQLEN, &mut request)
    }

    /// The kernel's own address at an interface.
    pub(super) fn mac(&self, name: &str) -> io::Result<MacAddr> {
        let answer = self.ask(name, libc::SIOCGIFHWADDR)?;
        // SAFETY: the kernel has written this field.
        let [a, b, c, d, e, f, ..] = unsafe { answer.ifr_ifru.ifru_hwaddr }.sa_data;
        Ok(MacAddr([a, b, c, d, e, f].map(|byte| byte.cast_unsigned())))
    }

    /// Puts an interface up.
    pub(super) fn set_up(&self, name: &str) -> io::Result<()> {
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

/// A request about an interface, zero but for the name.
fn request(name: &str) -> io::Result<libc::ifreq> {
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
fn call<T>(fd: &impl AsRawFd, number: c_ulong, argument: &mut T) -> io::Result<()> {
    // SAFETY: the callers, all in this file, pass the type that the request is about, and it lives throughout the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), number, std::ptr::from_mut(argument)) };
    answer(result)
}

fn answer(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Receives one packet: its header, and its bytes into the tail rooms of `frames` (at most [`MAX_BUFFERS`]), one after the other. Answers
/// how many bytes there were with the header; a packet that is longer than the room is cut.
pub(super) fn read_packet(
    queue: &File,
    header: &mut [u8; HEADER_BYTES],
    frames: &mut [BufferMut],
) -> io::Result<usize> {
    let mut vectors = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; MAX_BUFFERS + 1];
    vectors[0] = libc::iovec { iov_base: header.as_mut_ptr().cast(), iov_len: HEADER_BYTES };
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
    let mut left = total.saturating_sub(HEADER_BYTES);
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

//! The system calls of TAP devices, tun(4): all of the unsafe code.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use libc::{c_int, c_short, c_ulong};
use sunstar_virtio::net::HEADER_BYTES;

use crate::netdevice::{answer, call, request};

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

//! How many pieces of a packet a device reads from frames itself, as the kernel tells by the family `netdev` of generic netlink.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

use super::netlink::{ERROR, MESSAGE_BYTES, attribute, request};

#[cfg(test)]
mod tests;

/// The type of messages of the family that tells the numbers of others.
const CONTROL: u16 = 16;

// `CTRL_CMD_GETFAMILY` and its attributes.
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

// `NETDEV_CMD_DEV_GET` and its attributes.
const GET_DEVICE: u8 = 1;
const INTERFACE: u16 = 1;
const MAX_SEGMENTS: u16 = 4;

/// Bytes of a message's header and the one of generic netlink.
const HEADERS_BYTES: usize = MESSAGE_BYTES + 4;

/// Answers are of some hundred bytes.
const ANSWER_BYTES: usize = 8 << 10;

/// How many pieces an interface's device takes of a packet that it reads itself; `None` if it reads none itself.
///
/// # Errors
/// If the kernel does not tell: before 6.6 it does not know.
pub(super) fn of(interface: u32) -> io::Result<Option<u32>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::GENERIC))?;
    let family = ask(&socket, CONTROL, GET_FAMILY, FAMILY_NAME, b"netdev\0")?;
    let family = attribute(&family, FAMILY_ID).and_then(|id| id.try_into().ok()).map(u16::from_ne_bytes);
    let family = family.ok_or(io::ErrorKind::InvalidData)?;
    let device = ask(&socket, family, GET_DEVICE, INTERFACE, &interface.to_ne_bytes())?;
    Ok(attribute(&device, MAX_SEGMENTS).and_then(|most| most.try_into().ok()).map(u32::from_ne_bytes))
}

/// Sends a command with one attribute to a family; answers the attributes of what comes back.
fn ask(socket: &OwnedFd, family: u16, command: u8, kind: u16, value: &[u8]) -> io::Result<Vec<u8>> {
    // The command, and the first version of it.
    let message = request(family, &[command, 1, 0, 0], Some((kind, value)));
    send(socket, &message, SendFlags::empty())?;
    let mut answer = vec![0; ANSWER_BYTES];
    // The kernel has answered when the call returns.
    let (count, _) = recv(socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    answer.truncate(count);
    attributes(&answer).map(<[u8]>::to_vec)
}

/// The attributes of an answer, unless it is an error.
fn attributes(answer: &[u8]) -> io::Result<&[u8]> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let kind = answer.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes);
    if kind.ok_or_else(short)? == ERROR {
        let code = answer.get(MESSAGE_BYTES..).and_then(|code| code.first_chunk().copied()).map(i32::from_ne_bytes);
        return Err(io::Error::from_raw_os_error(code.ok_or_else(short)?.saturating_neg()));
    }
    answer.get(HEADERS_BYTES..).ok_or_else(short)
}

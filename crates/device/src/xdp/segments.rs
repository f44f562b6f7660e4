//! How many pieces of a packet a device reads from frames itself, as the kernel tells by the family `netdev` of generic netlink.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

#[cfg(test)]
mod tests;

// Types of messages (netlink(7)), and that of the family which tells the numbers of others.
const ERROR: u16 = 2;
const CONTROL: u16 = 16;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;

// `CTRL_CMD_GETFAMILY` and its attributes.
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

// `NETDEV_CMD_DEV_GET` and its attributes.
const GET_DEVICE: u8 = 1;
const INTERFACE: u16 = 1;
const MAX_SEGMENTS: u16 = 4;

/// Bytes of a message's header, of that and the one of generic netlink, and of an attribute's header.
const MESSAGE_BYTES: usize = 16;
const HEADERS_BYTES: usize = MESSAGE_BYTES + 4;
const ATTRIBUTE_BYTES: usize = 4;

/// Of an attribute's type without the bits that tell how it is encoded.
const TYPE_BITS: u16 = 0x3fff;

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
    let message = message(family, command, kind, value);
    send(socket, &message, SendFlags::empty())?;
    let mut answer = vec![0; ANSWER_BYTES];
    // The kernel has answered when the call returns.
    let (count, _) = recv(socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    answer.truncate(count);
    attributes(&answer).map(<[u8]>::to_vec)
}

fn message(family: u16, command: u8, kind: u16, value: &[u8]) -> Vec<u8> {
    let half = |len: usize| u16::try_from(len).unwrap_or(u16::MAX).to_ne_bytes();
    let attribute = ATTRIBUTE_BYTES + value.len();
    let len = HEADERS_BYTES + attribute.next_multiple_of(4);
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    let mut message = [len.to_ne_bytes(), [0; 4], [0; 4], [0; 4]].concat();
    message[4..6].copy_from_slice(&family.to_ne_bytes());
    message[6..8].copy_from_slice(&REQUEST.to_ne_bytes());
    // The command, and the first version of it.
    message.extend([command, 1, 0, 0]);
    message.extend(half(attribute));
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
    message
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

/// The value of an attribute of that type, if there is one.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let [a, b, c, d] = *attributes.first_chunk()?;
        let len = usize::from(u16::from_ne_bytes([a, b]));
        let value = attributes.get(ATTRIBUTE_BYTES..len)?;
        if u16::from_ne_bytes([c, d]) & TYPE_BITS == wanted {
            return Some(value);
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
}

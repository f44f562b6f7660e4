//! Messages over a Unix socket, with descriptors.
//!
//! Whether reading waits is a matter of the socket: of one that does not block, [`Channel::receive`] answers that there is nothing yet.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use super::message::{HEADER_BYTES, Header, MAX_FILES, MAX_MESSAGE_BYTES, MessageError};

#[cfg(test)]
mod tests;

/// A message as it has come, not yet understood.
#[derive(Debug)]
pub(crate) struct Received {
    /// Its beginning.
    pub(crate) header: Header,
    /// What follows, as long as the header says.
    pub(crate) payload: Vec<u8>,
    /// The descriptors that came with it, at most [`MAX_FILES`]. They are closed when they are dropped.
    pub(crate) files: Vec<OwnedFd>,
}

/// One end of a connection.
pub(crate) struct Channel {
    socket: OwnedFd,
    /// What has come of a message, never more than one.
    bytes: Vec<u8>,
    header: Option<Header>,
    files: Vec<OwnedFd>,
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    /// The other side has closed it.
    #[error("the other side has closed the connection")]
    Closed,
    /// The other side has closed it in the middle of a message.
    #[error("the other side has closed the connection in the middle of a message")]
    Cut,
    /// There were more descriptors than any message has.
    #[error("a message with more than {MAX_FILES} descriptors")]
    TooManyFiles,
    /// The message makes no sense.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The other side does not read what is sent.
    #[error("the other side does not read its answers")]
    Unread,
    /// Something else.
    #[error("{0}")]
    System(#[from] io::Error),
}

impl Channel {
    /// Speaks by a connected stream socket.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket, bytes: Vec::new(), header: None, files: Vec::new() }
    }

    /// Sends a whole message and the descriptors that go with it, at most [`MAX_FILES`].
    ///
    /// # Errors
    /// When the connection fails, or there is no room for all of it. It is of no use then.
    pub(crate) fn send(&self, message: &[u8], files: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FILES))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if files.len() > MAX_FILES {
            return Err(ChannelError::TooManyFiles);
        }
        if !files.is_empty() {
            let has_room = control.push(SendAncillaryMessage::ScmRights(files));
            debug_assert!(has_room, "there is room for as many");
        }
        loop {
            match sendmsg(&self.socket, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL) {
                Ok(sent) if sent == message.len() => return Ok(()),
                Ok(_) | Err(rustix::io::Errno::AGAIN) => return Err(ChannelError::Unread),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => return Err(ChannelError::Closed),
                Err(error) => return Err(ChannelError::System(error.into())),
            }
        }
    }

    /// The next message, if all of it is there.
    ///
    /// # Errors
    /// When the connection has ended, or something came that no message begins with. It is of no use then.
    pub(crate) fn receive(&mut self) -> Result<Option<Received>, ChannelError> {
        loop {
            // Never beyond the end of a message: descriptors come with the first byte of theirs.
            let wanted = self.header.map_or(HEADER_BYTES, |header| HEADER_BYTES + header.payload_bytes);
            let missing = wanted - self.bytes.len();
            if missing > 0 {
                if !self.read(missing)? {
                    return Ok(None);
                }
                continue;
            }
            let Some(header) = self.header else {
                let bytes = self.bytes.first_chunk().expect("as many bytes as a header has were read");
                self.header = Some(Header::decode(bytes)?);
                continue;
            };
            self.header = None;
            let payload = self.bytes.split_off(HEADER_BYTES);
            self.bytes.clear();
            return Ok(Some(Received { header, payload, files: std::mem::take(&mut self.files) }));
        }
    }

    /// Reads at most so many bytes; answers whether there were any.
    fn read(&mut self, most: usize) -> Result<bool, ChannelError> {
        let mut buffer = [0; MAX_MESSAGE_BYTES];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FILES))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut buffer[..most])];
        let result = match recvmsg(&self.socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(result) => result,
            Err(rustix::io::Errno::AGAIN) => return Ok(false),
            Err(rustix::io::Errno::INTR) => return Ok(true),
            Err(rustix::io::Errno::CONNRESET) => return Err(ChannelError::Closed),
            Err(error) => return Err(ChannelError::System(error.into())),
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.files.extend(files);
            }
        }
        if result.flags.contains(ReturnFlags::CTRUNC) || self.files.len() > MAX_FILES {
            return Err(ChannelError::TooManyFiles);
        }
        if result.bytes == 0 {
            return Err(if self.bytes.is_empty() { ChannelError::Closed } else { ChannelError::Cut });
        }
        self.bytes.extend_from_slice(&buffer[..result.bytes]);
        Ok(true)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("socket", &self.socket).finish_non_exhaustive()
    }
}

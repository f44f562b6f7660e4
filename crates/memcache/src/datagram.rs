//! The protocol in datagrams: each has a frame header of eight bytes, and then what would be sent on a connection.
//!
//! The header has the number by which the client knows the request, the place of the datagram among those of its message, how many
//! those are, and a reserved number; each of 16 bits, high byte first.

use sunstar_packet::{Buffer, BufferMut};

use crate::command::RetrievalCommand;
use crate::endpoint::HEADROOM_BYTES;
use crate::limits::MAX_KEY_BYTES;
use crate::request::words;

/// Of the frame header, in bytes.
pub const FRAME_HEADER_BYTES: usize = 8;

/// Of a datagram that answers, in bytes, with the frame header, as memcached has it: few links take less.
pub const MAX_DATAGRAM_BYTES: usize = 1400;

/// Of an answer, in bytes: as many datagrams as the frame header can count.
pub const MAX_DATAGRAM_REPLY_BYTES: usize = (MAX_DATAGRAM_BYTES - FRAME_HEADER_BYTES) * u16::MAX as usize;

/// The number by which a client knows a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(u16);

impl RequestId {
    /// The number of the request in a datagram, which has something besides; `None` if it has not, or is one of several.
    ///
    /// memcached takes no request in several datagrams either.
    pub fn of(datagram: &[u8]) -> Option<Self> {
        let (header, rest) = datagram.split_first_chunk::<FRAME_HEADER_BYTES>()?;
        let is_whole = header[4..6] == [0, 1] || planted::is("memcache_datagram_part");
        (is_whole && !rest.is_empty()).then(|| Self(u16::from_be_bytes([header[0], header[1]])))
    }

    /// The header of the datagram with this place among so many.
    pub fn header(self, place: u16, count: u16) -> [u8; FRAME_HEADER_BYTES] {
        let [[a, b], [c, d], [e, f]] = [self.0, place, count].map(u16::to_be_bytes);
        [a, b, c, d, e, f, 0, 0]
    }

    /// What an answer of so many bytes takes in datagrams, in bytes; `None` if it is longer than [`MAX_DATAGRAM_REPLY_BYTES`].
    pub fn frames_bytes(reply_bytes: usize) -> Option<usize> {
        let count = reply_bytes.div_ceil(MAX_DATAGRAM_BYTES - FRAME_HEADER_BYTES);
        (reply_bytes <= MAX_DATAGRAM_REPLY_BYTES).then(|| reply_bytes + count * FRAME_HEADER_BYTES)
    }

    /// An answer in datagrams, which are none if it has no bytes, or too many.
    #[expect(clippy::missing_panics_doc, reason = "it does not panic: frames have room for what is put into them")]
    pub fn frames(self, reply: &[Buffer]) -> impl Iterator<Item = Buffer> {
        let data_bytes = MAX_DATAGRAM_BYTES - FRAME_HEADER_BYTES;
        let len: usize = reply.iter().map(|buffer| buffer.len()).sum();
        let count = if planted::is("memcache_frames_count") { len / data_bytes + 1 } else { len.div_ceil(data_bytes) };
        let count = u16::try_from(count).unwrap_or(0);
        let mut parts = reply.iter().map(|buffer| &buffer[..]);
        let mut part: &[u8] = &[];
        (0..count).map(move |place| {
            let room = data_bytes.min(len.saturating_sub(usize::from(place) * data_bytes));
            let mut frame = BufferMut::with_capacity(HEADROOM_BYTES, FRAME_HEADER_BYTES + room);
            frame.extend_from_slice(&self.header(place, count)).expect("there is room for it");
            while frame.len() < FRAME_HEADER_BYTES + room {
                if part.is_empty() {
                    part = parts.next().expect("the parts have as many bytes as was counted");
                    continue;
                }
                let (front, rest) = part.split_at(part.len().min(FRAME_HEADER_BYTES + room - frame.len()));
                frame.extend_from_slice(front).expect("there is room for it");
                part = rest;
            }
            frame.freeze()
        })
    }
}

/// The key of a datagram that carries one `get` or `gets` of one key and nothing else, and which of the two it is.
///
/// What else may be there is for [`Endpoint::accept`](crate::Endpoint::accept).
pub fn single_get(datagram: &[u8]) -> Option<(RetrievalCommand, &[u8])> {
    let line = datagram.get(FRAME_HEADER_BYTES..)?.strip_suffix(b"\r\n")?;
    let (command, rest) = if let Some(rest) = line.strip_prefix(b"get ") {
        (RetrievalCommand::GET, rest)
    } else {
        (RetrievalCommand::GETS, line.strip_prefix(b"gets ")?)
    };
    let mut keys = words(rest);
    let key = keys.next()?;
    let is_short = key.len() <= MAX_KEY_BYTES || planted::is("memcache_single_long");
    let is_key = is_short && memchr::memchr(b'\n', rest).is_none();
    (is_key && keys.next().is_none()).then_some((command, key))
}

//! The error queue: what is told of bytes that were sent (`MSG_ZEROCOPY`, `SO_TIMESTAMPING`).

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use sunstar_tcpip::time::Instant;

use super::options::Wishes;
use super::receive::Received;
use crate::address::Family;
use crate::errno::Errno;
use crate::numbers::{control, ip, ipv6, level, msg, origin, timestamping};

/// An entry of the error queue: `struct sock_extended_err`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorMessage {
    /// `ee_errno`.
    pub errno: u32,
    /// `ee_origin`.
    pub origin: u8,
    /// `ee_code`.
    pub code: u8,
    /// `ee_info`.
    pub info: u32,
    /// `ee_data`.
    pub data: u32,
    /// When, if it is about a time.
    pub at: Option<Instant>,
}

/// Bytes of `struct sock_extended_err` with the address of who has caused it.
const MESSAGE_BYTES: usize = 16;

/// At most so many entries wait; further ones are not told, as with a full error queue of Linux.
const MAX_WAITING: usize = 1_024;

/// Something that is to be told when bytes up to `end` are so far.
#[derive(Clone, Copy, Debug)]
struct Pending {
    end: u64,
    key: u32,
    about: About,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// The program's memory is its own again.
    ZeroCopy,
    /// A time: when it was sent or acknowledged, under the name that it is told by.
    Sent(u32),
    Acked,
}

/// What is to be told, and what waits to be read.
#[derive(Debug, Default)]
pub(super) struct Notices {
    pending: VecDeque<Pending>,
    waiting: VecDeque<ErrorMessage>,
    next_zerocopy: u32,
    /// Where the stream stood when identifications began.
    ids_from: u64,
}

impl Notices {
    /// From here on bytes are counted for identifications.
    pub(super) fn begin_ids(&mut self, written: u64) {
        self.ids_from = written;
    }

    /// Bytes were taken; all that there have been end at `end`.
    pub(super) fn on_sent(&mut self, wishes: &Wishes, flags: i32, end: u64, _is_whole: bool) {
        if self.pending.len() + self.waiting.len() >= MAX_WAITING {
            return;
        }
        let flag = |flag| wishes.timestamping & flag != 0;
        let key = if flag(timestamping::OPT_ID) { wrapping(end - self.ids_from).wrapping_sub(1) } else { 0 };
        let mut add = |is_wanted: bool, about| {
            if is_wanted {
                self.pending.push_back(Pending { end, key, about });
            }
        };
        add(flag(timestamping::TX_SCHED), About::Sent(timestamping::SCHED));
        add(flag(timestamping::TX_SOFTWARE), About::Sent(timestamping::SND));
        add(flag(timestamping::TX_ACK), About::Acked);
        if flags & msg::ZEROCOPY != 0 && wishes.is_zerocopy {
            let key = self.next_zerocopy;
            self.next_zerocopy = key.wrapping_add(1);
            self.pending.push_back(Pending { end, key, about: About::ZeroCopy });
        }
    }

    /// So many bytes were sent, and acknowledged. Answers whether there is something new to be read.
    pub(super) fn advance(&mut self, now: Instant, sent: u64, acked: u64) -> bool {
        let (pending, waiting) = (&mut self.pending, &mut self.waiting);
        let before = waiting.len();
        let mut has_merged = false;
        pending.retain(|one| {
            let is_due = one.end <= if matches!(one.about, About::Sent(_)) { sent } else { acked };
            if is_due {
                has_merged |= tell(waiting, one, now);
            }
            !is_due
        });
        waiting.len() > before || has_merged
    }

    pub(super) fn is_any_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next entry, as `recvmsg` with `MSG_ERRQUEUE` tells it.
    /// Times are told with what was sent, for which there is no room, unless the program wants only them.
    pub(super) fn receive(&mut self, family: Family, wishes: &Wishes) -> Result<Received, Errno> {
        let next = if planted::is("notices_reversed") { self.waiting.pop_back() } else { self.waiting.pop_front() };
        let message = next.ok_or(Errno::AGAIN)?;
        let mut told = Vec::new();
        if let Some(at) = message.at {
            told.push((level::SOCKET, control::TIMESTAMPING, times(at)));
        }
        let (at, name) = match family {
            Family::V4 => (level::IP, ip::RECVERR),
            Family::V6 => (level::IPV6, ipv6::RECVERR),
        };
        told.push((at, name, message.to_bytes(family)));
        let is_cut = message.at.is_some() && wishes.timestamping & timestamping::OPT_TSONLY == 0;
        Ok(Received { bytes: 0, control: told, flags: msg::ERRQUEUE | if is_cut { msg::TRUNC } else { 0 } })
    }
}

/// Puts an entry into the queue; answers whether it became part of the last one.
fn tell(waiting: &mut VecDeque<ErrorMessage>, one: &Pending, now: Instant) -> bool {
    let (origin, info, at) = match one.about {
        About::ZeroCopy => {
            // Ranges that follow each other become one.
            let last = waiting.back_mut().filter(|last| last.origin == origin::ZEROCOPY);
            if let Some(last) = last.filter(|last| last.data.wrapping_add(1) == one.key) {
                last.data = one.key;
                return true;
            }
            (origin::ZEROCOPY, one.key, None)
        }
        About::Sent(name) => (origin::TIMESTAMPING, name, Some(now)),
        About::Acked => (origin::TIMESTAMPING, timestamping::ACK, Some(now)),
    };
    let is_time = at.is_some();
    waiting.push_back(ErrorMessage {
        errno: if is_time { Errno::NOMSG.number().into() } else { 0 },
        origin,
        code: if is_time { 0 } else { origin::CODE_ZEROCOPY_COPIED },
        info,
        data: one.key,
        at,
    });
    false
}

impl ErrorMessage {
    /// `struct sock_extended_err`, with the address behind it, which is that of nobody.
    fn to_bytes(self, family: Family) -> Vec<u8> {
        let offender = if family == Family::V4 { 16 } else { 28 };
        let mut bytes = vec![0; MESSAGE_BYTES + offender];
        bytes[..4].copy_from_slice(&self.errno.to_ne_bytes());
        bytes[4] = self.origin;
        bytes[6] = self.code;
        bytes[8..12].copy_from_slice(&self.info.to_ne_bytes());
        bytes[12..16].copy_from_slice(&self.data.to_ne_bytes());
        bytes
    }
}

/// `struct scm_timestamping`: the first of three times is that of the software.
fn times(at: Instant) -> Vec<u8> {
    let micros = at.as_micros();
    let mut bytes = (micros / 1_000_000).to_ne_bytes().to_vec();
    bytes.extend((micros % 1_000_000 * 1_000).to_ne_bytes());
    bytes.resize(48, 0);
    bytes
}

#[expect(clippy::cast_possible_truncation, reason = "identifications wrap around")]
fn wrapping(bytes: u64) -> u32 {
    bytes as u32
}

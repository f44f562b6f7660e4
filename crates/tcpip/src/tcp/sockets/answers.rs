//! Segments that answer others and belong to no connection that is open.

use sunstar_wire::{FourTuple, TcpHeader};

use super::Sockets;
use crate::interface::InterfaceId;
use crate::neighbours::{Errand, Station};
use crate::tcp::connection::Outgoing;
use crate::tcp::scoreboard::Payload;

/// A segment that is no connection's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(super) flow: FourTuple,
    pub(super) header: TcpHeader,
    pub(crate) errand: Errand,
}

impl Answer {
    /// Puts it where it is wanted, and answers with who it is between.
    pub(crate) fn write(self, outgoing: &mut Outgoing) -> FourTuple {
        let Self { flow, header, .. } = self;
        *outgoing = Outgoing { header, payload: Payload::new(), len: 0, mss: u32::MAX };
        (outgoing.header.src_port, outgoing.header.dst_port) = (flow.src_port, flow.dst_port);
        flow
    }
}

/// How a segment has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// Bytes of payload that its link takes, without options: connections that it opens know it.
    pub(crate) link_mss: u16,
    /// The station that has sent it, if that is known.
    pub(crate) station: Option<Station>,
}

impl Default for Origin {
    fn default() -> Self {
        Self { link_mss: u16::MAX, station: None }
    }
}

impl Sockets {
    /// Whether an answer may have to leave.
    #[inline]
    pub(crate) fn has_answer(&self) -> bool {
        !self.answers.is_empty()
    }

    /// The next answer that has to leave. `max_len` is asked for each flow, and names the interface for which it has to wait, if it has to.
    pub(crate) fn next_answer(&mut self, max_len: impl Fn(&FourTuple) -> Result<u32, InterfaceId>) -> Option<Answer> {
        loop {
            let answer = self.answers.pop_front()?;
            let Err(interface) = max_len(&answer.flow) else {
                self.counters.segments_sent += 1;
                return Some(answer);
            };
            let is_held = self.held.hold_answer(interface, answer, self.limits.replies as usize);
            self.counters.replies_dropped += u64::from(!is_held);
        }
    }

    /// Puts a segment of no connection into the queue. What answers a segment has its station [set](Sockets::on_unconnected) when that is
    /// known.
    pub(super) fn reply(&mut self, flow: FourTuple, header: TcpHeader) {
        self.reply_as(Errand::Answer(None), flow, header);
    }

    /// The same where it is known why it is sent. Answers whether there was room.
    pub(super) fn reply_as(&mut self, errand: Errand, flow: FourTuple, header: TcpHeader) -> bool {
        let has_room = self.answers.len() < self.limits.replies as usize;
        if has_room {
            self.answers.push_back(Answer { flow, header, errand });
        } else {
            self.counters.replies_dropped += 1;
        }
        has_room
    }
}

//! Urgent data (RFC 9293 §3.8.5): where they end, in either direction. They are part of the stream as all other bytes.

use sunstar_wire::{Seq, TcpFlags, TcpHeader};

use super::{Connection, State};

impl Connection {
    /// What was handed over last ends urgent data: the other side is told as long as it has not got so far, and nothing of it waits to be a
    /// full segment (`MSG_OOB`).
    pub fn end_urgent(&mut self) {
        let end = self.snd_nxt + self.unsent_bytes;
        self.queues.get_or_insert_default().urgent_end = Some(end);
        self.push_all();
        let is_open = matches!(self.state, State::Established | State::CloseWait);
        if is_open && self.peer_room() == 0 && self.is_all_acknowledged() {
            self.must_ask = true;
            self.announce_urgent();
        }
    }

    /// The next question says that data are urgent, if some are: the other side hears of it though it has no room (RFC 9293 §3.8.5).
    pub(super) fn announce_urgent(&mut self) {
        let must_announce = self.is_urgent_from(self.snd_una);
        if let Some(queues) = &mut self.queues {
            queues.must_announce = must_announce;
        }
    }

    /// How many bytes of its stream the other side has sent, and will send, up to the end of what it has called urgent last; none if it has
    /// never called anything so.
    pub fn urgent_end(&self) -> Option<u64> {
        self.history.as_ref().and_then(|history| history.urgent_end)
    }

    /// Whether what is sent from `seq` on is urgent, at least its beginning.
    #[inline]
    pub(super) fn is_urgent_from(&self, seq: Seq) -> bool {
        self.queues.as_deref().is_some_and(|queues| queues.urgent_end.is_some_and(|end| end.is_after(seq)))
    }

    /// Says in a header how far urgent data go: up to the byte behind them (RFC 9293 §3.8.5), which may be further than one can say.
    pub(super) fn write_urgent(&self, header: &mut TcpHeader) {
        if self.is_urgent_from(header.seq)
            && let Some(end) = self.queues.as_deref().and_then(|queues| queues.urgent_end)
        {
            header.flags |= TcpFlags::URG;
            header.urgent_pointer = u16::try_from(end - header.seq).unwrap_or(u16::MAX);
        }
    }

    /// A segment says that the other side has something urgent. The end only moves on (RFC 9293 §3.10.7.4, sixth).
    pub(super) fn take_urgent(&mut self, header: &TcpHeader) {
        let end = header.seq + u32::from(header.urgent_pointer);
        let ahead = (end - self.rcv_nxt).cast_signed();
        let Some(end) = self.totals.received().checked_add_signed(ahead.into()) else { return };
        let known = &mut self.history().urgent_end;
        *known = Some(known.map_or(end, |known| known.max(end)));
    }
}

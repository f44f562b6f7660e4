//! What leaves next.

use sunstar_packet::Packet;

use super::Stack;
use crate::filter::Direction;
use crate::interface::InterfaceId;
use crate::neighbours::Errand;
use crate::tcp::connection::Outgoing;
use crate::time::Instant;

/// In one call so many packets stay inside before others get a turn.
pub(super) const TRANSMIT_BUDGET: usize = 256;

/// What became of that which was to leave next.
enum Turn {
    /// It leaves by this interface.
    Leaves(InterfaceId),
    /// It stays inside.
    Stays,
    /// There was nothing.
    Nothing,
}

impl Stack {
    /// Whether there may be a packet that has to leave; if not, [`Stack::poll_transmit`] need not be asked.
    #[inline]
    pub fn may_transmit(&self) -> bool {
        self.tcp.has_work() || self.has_waiting() || self.is_interrupted || !self.filters.is_empty(Direction::Output)
    }

    /// The next packet that leaves, filters not asked.
    pub(super) fn next_packet(
        &mut self,
        now: Instant,
        segment: &mut Outgoing,
        packet: &mut Packet,
    ) -> Option<InterfaceId> {
        self.is_interrupted = false;
        for _ in 0..TRANSMIT_BUDGET {
            if self.has_waiting() {
                match self.next_waiting(now, segment, packet) {
                    Turn::Leaves(interface) => return Some(interface),
                    Turn::Stays => continue,
                    Turn::Nothing => {}
                }
            }
            let network = &self.network;
            let flow = self.tcp.transmit(now, |flow| network.max_segment(flow), segment)?;
            let interface = self.transmit_segment(now, (&flow, Errand::Own), segment, packet);
            if interface.is_some() {
                return interface;
            }
        }
        self.is_interrupted = true;
        None
    }

    /// Whether anything but a new segment may leave.
    #[inline]
    pub(super) fn has_waiting(&self) -> bool {
        self.neighbours.has_request()
            || self.outgoing.len() > 0
            || !self.local.is_empty()
            || self.cut.is_some()
            || self.tcp.has_answer()
    }

    /// What leaves before new segments do.
    #[inline(never)]
    fn next_waiting(&mut self, now: Instant, segment: &mut Outgoing, packet: &mut Packet) -> Turn {
        if self.neighbours.has_request() {
            self.send_requests(now);
        }
        if self.outgoing.len() > 0
            && let Some((interface, ready)) = self.outgoing.pop(|id| !self.network.is_paused(id))
        {
            *packet = ready;
            return Turn::Leaves(interface);
        }
        if let Some(packet) = self.local.pop_front() {
            self.handle_packets(now, InterfaceId::LOOPBACK, [packet]);
            return Turn::Stays;
        }
        if self.cut.is_some() {
            return self.transmit_piece(now, segment, packet).map_or(Turn::Stays, Turn::Leaves);
        }
        let network = &self.network;
        if let Some(answer) = self.tcp.next_answer(|flow| network.max_segment(flow)) {
            let errand = answer.errand;
            let flow = answer.write(segment);
            return self.transmit_segment(now, (&flow, errand), segment, packet).map_or(Turn::Stays, Turn::Leaves);
        }
        Turn::Nothing
    }
}

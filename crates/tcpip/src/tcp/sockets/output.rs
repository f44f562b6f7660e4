//! Segments that leave.

use sunstar_wire::FourTuple;

use super::{Counters, MAX_SPARES, Sockets};
use crate::interface::InterfaceId;
use crate::tcp::connection::{Connection, Outgoing, State};
use crate::time::Instant;

impl Sockets {
    /// The next segment that has to leave, with who it is between, its ports set. `max_len` is how many bytes of payload the device
    /// takes at once. Ask until there is none: connections are served in turn, one segment each.
    pub fn poll_transmit(&mut self, now: Instant, max_len: u32) -> Option<(FourTuple, Outgoing)> {
        let mut outgoing = Outgoing::default();
        let flow = match self.next_answer(|_| Ok(max_len)) {
            Some(answer) => answer.write(&mut outgoing),
            None => self.transmit(now, |_| Ok(max_len), &mut outgoing)?,
        };
        Some((flow, outgoing))
    }

    /// The next segment of a connection, put where it is wanted, since it is large, and where devices differ: `max_len` is asked for each flow, and names the
    /// interface for which it has to wait, if it has to.
    pub(crate) fn transmit(
        &mut self,
        now: Instant,
        max_len: impl Fn(&FourTuple) -> Result<u32, InterfaceId>,
        outgoing: &mut Outgoing,
    ) -> Option<FourTuple> {
        while let Some(place) = self.held.pop().or_else(|| self.work.pop_front()) {
            let Some(entry) = self.connections.get_mut(place) else { continue };
            let max_len = match max_len(&entry.flow) {
                Ok(max_len) => max_len,
                Err(interface) => {
                    self.held.hold(interface, place);
                    continue;
                }
            };
            let snd_nxt = entry.connection.snd_nxt();
            if entry.connection.transmit(now, max_len, outgoing) {
                let count = u64::from(outgoing.segments());
                let is_again = outgoing.len > 0 && outgoing.header.seq.is_before(snd_nxt);
                self.counters.segments_sent += count;
                self.counters.segments_retransmitted += if is_again { count } else { 0 };
                let flow = addressed(entry.flow, outgoing);
                if entry.connection.has_more_to_send(now) {
                    self.work.push_back(place);
                } else {
                    entry.has_work = false;
                    self.settle(now, place);
                }
                return Some(flow);
            }
            entry.has_work = false;
            self.settle(now, place);
        }
        None
    }

    /// Whether anything may have to leave.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        !self.work.is_empty() || !self.answers.is_empty() || !self.held.is_empty()
    }

    /// What has waited for the device of an interface may leave.
    pub(crate) fn resume(&mut self, interface: InterfaceId) {
        for answer in self.held.resume(interface).into_iter().rev() {
            self.answers.push_front(answer);
        }
    }

    /// A connection has nothing more to send: sets its timer, or lets it go.
    fn settle(&mut self, now: Instant, place: u32) {
        let Some(entry) = self.connections.get_mut(place) else { return };
        entry.connection.note_sending(now);
        if entry.connection.wants_growth() {
            let growth = entry.connection.grow(self.limits.growth_bytes - self.growth_bytes);
            self.growth_bytes += u64::from(growth.bytes);
            self.counters.growth_refused += u64::from(growth.is_refused);
        }
        if entry.connection.has_uncounted() {
            self.counters.add_uncounted(&mut entry.connection);
        }
        self.send_bytes = self.send_bytes.wrapping_add_signed(entry.connection.recount());
        if let Some(spare) = entry.connection.reclaim(now)
            && self.spares.len() < MAX_SPARES
        {
            self.spares.push(spare);
        }
        match entry.connection.deadline() {
            Some(deadline) => self.connection_timers.arm(place, deadline),
            None => self.connection_timers.disarm(place),
        }
        if entry.connection.state() == State::TimeWait {
            self.retire(now, place);
        }
    }
}

impl Counters {
    /// Counts what a connection has not counted yet.
    #[cold]
    fn add_uncounted(&mut self, connection: &mut Connection) {
        let [pieces, reports] = connection.take_refused();
        self.pieces_refused += u64::from(pieces);
        self.reports_refused += u64::from(reports);
        if let Some(news) = connection.take_path_news() {
            self.black_holes += u64::from(news.black_holes);
            self.path_probes_arrived += u64::from(news.arrived);
            self.path_probes_lost += u64::from(news.lost);
        }
        self.challenges_suppressed += u64::from(connection.take_unanswered());
    }
}

fn addressed(flow: FourTuple, outgoing: &mut Outgoing) -> FourTuple {
    (outgoing.header.src_port, outgoing.header.dst_port) = (flow.src_port, flow.dst_port);
    flow
}

//! Segments that arrive, and time that passes.

use smallvec::SmallVec;
use sunstar_wire::{AddressPair, FastOpenOption, FourTuple, Seq, TcpFlags, TcpHeader};

use super::listen::Listener;
use super::{Event, Origin, Place, SocketId, Sockets, Waiting, bound_at};
use crate::neighbours::{Errand, Station};
use crate::tcp::connection::{Connection, Failure, LEAST_MSS, Reply, Segment, State};
use crate::tcp::fast_open::Decision;
use crate::tcp::half_open::{self, HalfOpen};
use crate::tcp::time_wait;
use crate::time::Instant;
use crate::timers::Timers;

/// So many connections and their table fit into the caches.
const FAR: usize = if cfg!(test) { 2 } else { 4_096 };

/// So many are looked up at a time.
pub(crate) const AHEAD: usize = 16;

impl Sockets {
    /// A segment has come; `flow` is that of its sender. Ask [`Sockets::poll_transmit`] and [`Sockets::poll_event`] afterwards.
    pub fn handle_segment(&mut self, now: Instant, flow: FourTuple, mut segment: Segment) {
        let len = segment.payload_len();
        self.take_segment(now, &flow, &mut segment, len, Origin::default);
    }

    /// The same for a segment that stays where it is, since it is large. It has `len` bytes. If it confirms a connection that is new, the station
    /// is returned that has sent it.
    pub(crate) fn take_segment(
        &mut self,
        now: Instant,
        flow: &FourTuple,
        segment: &mut Segment,
        len: u32,
        origin: impl FnOnce() -> Origin,
    ) -> Option<Station> {
        self.counters.segments_received += 1;
        match self.find_again(flow) {
            Some(Place::Connection(place)) => {
                self.on_connection(now, place, segment, len);
                None
            }
            other => self.on_unconnected(now, other, flow.reversed(), segment, origin()),
        }
    }

    /// The same for a segment of no connection that is open.
    #[inline(never)]
    fn on_unconnected(
        &mut self,
        now: Instant,
        found: Option<Place>,
        flow: FourTuple,
        segment: &mut Segment,
        origin: Origin,
    ) -> Option<Station> {
        let (answers, accepted) = (self.answers.len(), self.counters.accepted);
        match found {
            Some(Place::Connection(_)) => {}
            Some(Place::HalfOpen(place)) => self.on_half_open(now, place, segment, origin),
            Some(Place::Over(place)) => self.on_over(now, place, flow, segment, origin),
            None => self.on_stranger(now, flow, segment, origin),
        }
        for answer in self.answers.iter_mut().skip(answers) {
            if answer.errand == Errand::Answer(None) {
                answer.errand = Errand::Answer(origin.station);
            }
        }
        origin.station.filter(|_| self.counters.accepted > accepted)
    }

    /// Whether there are so many connections that they don't fit into the caches.
    #[inline]
    pub(crate) fn is_far(&self) -> bool {
        self.flows.len() > FAR
    }

    /// Segments of these flows, those of their senders, have come in a burst and will be handed over: has what is known of each fetched,
    /// all at the same time.
    /// `also` is told the small numbers of the connections.
    pub(crate) fn prefetch(&self, flows: &[FourTuple], also: &mut impl FnMut(usize)) {
        let hash = |flow: &FourTuple| self.secret.flow_hash(&flow.reversed()).slot();
        let hashes: SmallVec<[u32; AHEAD]> = flows.iter().map(hash).collect();
        hashes.iter().for_each(|hash| self.flows.prefetch(*hash));
        for hash in hashes {
            if let Some(Place::Connection(place)) = self.flows.guess(hash).map(Place::unpack) {
                self.connections.prefetch(place);
                self.connection_timers.prefetch(place);
                also(place as usize);
            }
        }
    }

    /// A segment has come that was put behind another one.
    pub(crate) fn count_joined(&mut self) {
        self.counters.segments_received += 1;
    }

    /// When to call [`Sockets::handle_timeout`], if nothing happens before. May be early, and up to 1,024 µs late, so that what ends at
    /// about the same time ends together.
    pub fn deadline(&self) -> Option<Instant> {
        let first = self.next_micros();
        (first != u64::MAX).then(|| Instant::from_micros(first))
    }

    /// The same in microseconds, and the largest number instead of none.
    #[inline]
    pub(crate) fn next_micros(&self) -> u64 {
        let [connections, half_open] = [&self.connection_timers, &self.half_open_timers].map(Timers::next_micros);
        connections.min(half_open).min(self.over.next_micros())
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(place) = self.connection_timers.poll(now) {
            let Some(entry) = self.connections.get_mut(place) else { continue };
            let state = entry.connection.state();
            if entry.connection.is_abandoned(now) {
                self.counters.timed_out += 1;
                self.abort_place(now, place, None);
                continue;
            }
            entry.connection.handle_timeout(now);
            let has_ended = entry.connection.state() != state;
            let is_silent = entry.connection.failure() == Some(Failure::TimedOut);
            self.counters.timed_out += u64::from(has_ended && is_silent);
            // What it wants to send sets its timer anew.
            self.after_change(now, place);
            if has_ended {
                self.notify(place);
            }
        }
        while let Some(place) = self.half_open_timers.poll(now) {
            let Some(waiting) = self.half_open.get(place) else { continue };
            if now < waiting.half_open.deadline() {
                // It was put off.
                self.half_open_timers.arm(place, waiting.half_open.deadline());
            } else if waiting.half_open.is_last_answer() {
                self.counters.half_open_expired += 1;
                self.forget(place);
            } else {
                self.answer(now, place);
            }
        }
        while let Some(place) = self.over.next_ended(now) {
            self.forget_over(place);
        }
    }

    #[inline]
    fn on_connection(&mut self, now: Instant, place: u32, segment: &mut Segment, len: u32) {
        let Some(entry) = self.connections.get_mut(place) else { return };
        if len > 0 {
            entry.connection.lend(|| self.spares.pop());
        }
        let was_opening = entry.connection.state() == State::SynSent;
        if was_opening {
            assume_mss(&entry.flow, segment);
        }
        let reply = entry.connection.take_segment(now, segment, len);
        if was_opening && let Some(answer) = entry.connection.take_opening_answer() {
            self.cookies.learn(entry.flow.dst().ip(), answer);
        }
        if reply == Reply::None && entry.connection.state() == State::Established && !entry.connection.is_orphan() {
            // All is as before, but for what is to be sent, and what the application should look at.
            if !core::mem::replace(&mut entry.has_work, true) {
                self.work.push_back(place);
            }
            if entry.is_accepted && !core::mem::replace(&mut entry.has_event, true) {
                self.events.push_back(Event::Socket(SocketId { place, generation: entry.generation }));
            }
            return;
        }
        let flow = entry.flow;
        if let Reply::Reset(seq) = reply
            && self.reply_reset(now, Errand::Own, flow, reset(seq))
            && let Some(entry) = self.connections.get_mut(place)
        {
            entry.connection.on_reset_sent(now);
        }
        // Nobody will read it (RFC 2525 §2.17). The other side believes a reset with the number that it expects (RFC 5961 §3), which may
        // be before our end.
        if entry_is_orphan(self, place) {
            self.abort_place(now, place, Some(segment.header.ack));
            return;
        }
        self.notify(place);
        self.after_change(now, place);
    }

    fn on_half_open(&mut self, now: Instant, place: u32, segment: &mut Segment, origin: Origin) {
        let Some(waiting) = self.half_open.get(place) else { return };
        let (flow, at, half_open) = (waiting.flow, waiting.listener, waiting.half_open);
        let header = &segment.header;
        if !half_open.has_answered_with(header.ack - 1)
            && let Some(cookie) = self.cookie_of(now, &flow, at, header, origin.link_mss)
        {
            // They asked twice, and the first time there was no place.
            self.forget(place);
            self.on_cookie(now, flow, at, (cookie, origin.station), segment);
            return;
        }
        let Some(listener) = self.listeners.get(at) else {
            self.forget(place);
            return;
        };
        match half_open.take_segment(now, &listener.options, segment) {
            half_open::Verdict::Waits => {}
            half_open::Verdict::Answer => self.answer_again(now, place),
            half_open::Verdict::Reset(seq) => self.reset(now, flow, seq),
            half_open::Verdict::Gone => self.forget(place),
            // The stranger believes that it is open. It will send again what is not acknowledged, or be reset.
            half_open::Verdict::Open(_) if !listener.has_room() || self.is_full() => {
                self.counters.confirmations_dropped += 1;
                if let Some(waiting) = self.half_open.get_mut(place) {
                    waiting.half_open.set_untimed();
                }
            }
            half_open::Verdict::Open(connection) => {
                self.end_waiting(place);
                self.admit(now, flow, at, connection, Some(Place::HalfOpen(place)));
            }
        }
    }

    /// A stranger has confirmed, who was found as `predecessor` until now if he was remembered.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        flow: FourTuple,
        at: u32,
        connection: Connection,
        predecessor: Option<Place>,
    ) {
        let Ok(id) = self.add(flow, connection, false, predecessor) else { return };
        self.counters.accepted += 1;
        self.offer(at, id);
        self.after_change(now, id.place);
    }

    pub(super) fn is_full(&self) -> bool {
        self.connections.len() >= self.limits.connections as usize
    }

    fn on_over(&mut self, now: Instant, place: u32, flow: FourTuple, segment: &mut Segment, origin: Origin) {
        let Some(over) = self.over.get_mut(place) else { return };
        let deadline = over.time_wait.deadline();
        let verdict = over.time_wait.handle_segment(now, segment);
        if over.time_wait.deadline() > deadline {
            self.over.renew(place);
        }
        match verdict {
            time_wait::Verdict::Ignore => {}
            time_wait::Verdict::End => self.forget_over(place),
            time_wait::Verdict::Answer(header) => self.reply(flow, header),
            time_wait::Verdict::Reopen => self.on_reopening(now, place, flow, segment, origin),
        }
    }

    /// A SYN for the ports of a connection that is over. It is forgotten if there is somebody for whom another one opens, and not by
    /// whoever just asks (RFC 1337).
    fn on_reopening(&mut self, now: Instant, place: u32, flow: FourTuple, segment: &mut Segment, origin: Origin) {
        let Some(over) = self.over.get(place) else { return };
        let time_wait = over.time_wait;
        let listener = bound_at(&self.bound, flow.src());
        match listener.and_then(|at| self.listeners.get(at).map(|listener| (at, listener))) {
            // A cookie would not open it while this is remembered, and its number might lie below what was sent.
            Some((at, listener)) if listener.has_room() && !self.is_flooded(listener) => {
                self.forget_over(place);
                self.counters.time_wait_reused += 1;
                assume_mss(&flow, segment);
                let iss = time_wait.next_iss(self.hash(&flow).initial_sequence(now));
                self.open_half(now, flow, at, segment, origin, iss);
            }
            found => {
                self.counters.syns_dropped += u64::from(found.is_some());
                self.reply(flow, time_wait.answer(now));
            }
        }
    }

    /// Whether so many strangers have not confirmed that the next one is not remembered.
    fn is_flooded(&self, listener: &Listener) -> bool {
        self.half_open.len() >= self.limits.half_open as usize || listener.half_open > listener.backlog
    }

    /// A segment of no connection (RFC 9293 §3.10.7.1, §3.10.7.2).
    fn on_stranger(&mut self, now: Instant, flow: FourTuple, segment: &mut Segment, origin: Origin) {
        assume_mss(&flow, segment);
        let header = &segment.header;
        let has = |flags| header.flags.contains(flags);
        if has(TcpFlags::RST) {
            return;
        }
        let listener = bound_at(&self.bound, flow.src());
        match listener {
            Some(at) if has(TcpFlags::ACK) => match self.cookie_of(now, &flow, at, header, origin.link_mss) {
                Some(cookie) => self.on_cookie(now, flow, at, (cookie, origin.station), segment),
                None => self.reset(now, flow, header.ack),
            },
            None if has(TcpFlags::ACK) => self.reset(now, flow, header.ack),
            Some(at) if has(TcpFlags::SYN) => self.on_syn(now, flow, at, segment, origin),
            _ => self.refuse(now, flow, segment),
        }
    }

    fn on_syn(&mut self, now: Instant, flow: FourTuple, at: u32, segment: &Segment, origin: Origin) {
        let syn = &segment.header;
        let Some(listener) = self.listeners.get(at) else { return };
        self.counters.small_mss_raised += u64::from(syn.options.mss.is_some_and(|mss| mss.get() < LEAST_MSS));
        if !listener.has_room() {
            self.counters.syns_dropped += 1;
            return;
        }
        if self.is_flooded(listener) {
            self.answer_by_cookie(now, flow, at, syn, origin.link_mss);
            return;
        }
        let iss = self.hash(&flow).initial_sequence(now);
        self.open_half(now, flow, at, segment, origin, iss);
    }

    /// Remembers who has sent a SYN for which there is a place, and answers with a SYN that begins at `iss`.
    fn open_half(&mut self, now: Instant, flow: FourTuple, at: u32, segment: &Segment, origin: Origin, iss: Seq) {
        let syn = &segment.header;
        let Some(listener) = self.listeners.get(at) else { return };
        let mut half_open = HalfOpen::new(syn, &listener.options, iss, self.secret.timestamp_offset(&flow));
        half_open.limit_mss(origin.link_mss);
        let has_data = !segment.payload.is_empty();
        let fast_open = listener.fast_open.map_or(Decision::Ordinary, |fast_open| {
            fast_open.decide(listener.queue.len(), flow.reversed().addresses, syn.options.fast_open, has_data)
        });
        match fast_open {
            Decision::Ordinary => {}
            Decision::Offer(is_experimental) => half_open.set_offer(is_experimental),
            Decision::Accept if self.connections.len() >= self.limits.connections as usize => {}
            Decision::Accept => {
                let connection = half_open.open_at_once(now, &listener.options, segment);
                self.counters.fast_opened += 1;
                self.admit(now, flow, at, connection, None);
                return;
            }
        }
        match self.wait(flow, at, half_open, origin.station) {
            Some(place) => self.answer(now, place),
            None => self.counters.syns_dropped += 1,
        }
    }

    /// Remembers a stranger; answers with his place, if there is one.
    pub(super) fn wait(
        &mut self,
        flow: FourTuple,
        at: u32,
        half_open: HalfOpen,
        station: Option<Station>,
    ) -> Option<u32> {
        let place = self.half_open.insert(Waiting { flow, listener: at, half_open, station });
        if self.flows.insert(self.flow_hash(&flow), Place::HalfOpen(place).pack()).is_err() {
            self.half_open.remove(place);
            return None;
        }
        if let Some(listener) = self.listeners.get_mut(at) {
            listener.half_open += 1;
        }
        Some(place)
    }

    /// Sends a half-open connection's answer, by the clock.
    fn answer(&mut self, now: Instant, place: u32) {
        let Some(waiting) = self.half_open.get_mut(place) else { return };
        let Some(listener) = self.listeners.get(waiting.listener) else { return };
        let (flow, mut header) = (waiting.flow, waiting.half_open.answer(now, &listener.options));
        header.options.fast_open = offer(waiting, listener);
        let errand = Errand::Answer(waiting.station);
        self.half_open_timers.arm(place, waiting.half_open.deadline());
        self.reply_as(errand, flow, header);
    }

    /// Sends it to somebody who asks again.
    fn answer_again(&mut self, now: Instant, place: u32) {
        let Some(waiting) = self.half_open.get_mut(place) else { return };
        let Some(listener) = self.listeners.get(waiting.listener) else { return };
        let (flow, mut header) = (waiting.flow, waiting.half_open.answer_again(now, &listener.options));
        header.options.fast_open = offer(waiting, listener);
        self.reply(flow, header);
    }

    pub(super) fn forget(&mut self, place: u32) {
        if let Some(flow) = self.end_waiting(place) {
            self.flows.remove(self.flow_hash(&flow), Place::HalfOpen(place).pack());
            self.ports.note_free(&flow);
        }
    }

    /// Nobody waits any more for a stranger, whose segments are still for his place.
    fn end_waiting(&mut self, place: u32) -> Option<FourTuple> {
        self.half_open_timers.disarm(place);
        let waiting = self.half_open.remove(place)?;
        if let Some(listener) = self.listeners.get_mut(waiting.listener) {
            listener.half_open -= usize::from(!planted::is("strangers_miscounted"));
        }
        Some(waiting.flow)
    }

    fn forget_over(&mut self, place: u32) {
        if let Some(over) = self.over.remove(place).filter(|_| !planted::is("leaked_flow")) {
            self.flows.remove(self.flow_hash(&over.flow), Place::Over(place).pack());
            self.ports.note_free(&over.flow);
        }
    }

    /// Refuses a stranger's segment with an acknowledgement.
    pub(super) fn reset(&mut self, now: Instant, flow: FourTuple, seq: Seq) {
        self.reply_reset(now, Errand::Answer(None), flow, reset(seq));
    }

    /// A reset for a segment that acknowledges nothing.
    fn refuse(&mut self, now: Instant, flow: FourTuple, segment: &Segment) {
        let ack = segment.header.seq + segment.len();
        let flags = TcpFlags::RST | TcpFlags::ACK;
        let header = TcpHeader { flags, seq: Seq::default(), ack, ..TcpHeader::default() };
        self.reply_reset(now, Errand::Answer(None), flow, header);
    }

    /// Not more often than what is open leaves time for. Answers whether it will be sent.
    fn reply_reset(&mut self, now: Instant, errand: Errand, flow: FourTuple, header: TcpHeader) -> bool {
        if self.resets.take(now) || planted::is("resets_unbounded") {
            self.counters.resets_sent += 1;
            self.reply_as(errand, flow, header)
        } else {
            self.counters.resets_suppressed += 1;
            false
        }
    }
}

/// A reset that the sender of a segment with an acknowledgement believes.
fn reset(seq: Seq) -> TcpHeader {
    TcpHeader { flags: TcpFlags::RST, seq, ..TcpHeader::default() }
}

/// Who does not say how large segments may be takes what every host takes (RFC 9293 §3.7.1): over IPv4 536 bytes, as a connection assumes by
/// itself, and over IPv6 1220.
fn assume_mss(flow: &FourTuple, segment: &mut Segment) {
    const DEFAULT_V6: u16 = 1_220;

    let mss = &mut segment.header.options.mss;
    if mss.is_none() && matches!(flow.addresses, AddressPair::V6 { .. }) {
        *mss = DEFAULT_V6.try_into().ok();
    }
}

/// The cookie that a stranger gets with the answer.
fn offer(waiting: &Waiting, listener: &Listener) -> Option<FastOpenOption> {
    let keys = listener.fast_open?.keys;
    waiting.half_open.offer(|| keys.cookie(waiting.flow.reversed().addresses))
}

/// Whether data have come for a connection that the application has let go.
fn entry_is_orphan(sockets: &Sockets, place: u32) -> bool {
    let entry = sockets.connections.get(place);
    entry.is_some_and(|entry| {
        entry.connection.is_orphan() && entry.connection.receivable() > 0 && entry.connection.state() != State::Closed
    })
}

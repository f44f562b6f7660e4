//! Strangers who are not remembered (RFC 4987 §3.6).

use sunstar_wire::{FourTuple, TcpFlags, TcpHeader};

use super::Sockets;
use crate::neighbours::Station;
use crate::tcp::connection::Segment;
use crate::tcp::cookie;
use crate::tcp::half_open::{HalfOpen, Verdict};
use crate::time::Instant;

impl Sockets {
    /// A SYN for which there is no place.
    pub(super) fn answer_by_cookie(&mut self, now: Instant, flow: FourTuple, at: u32, syn: &TcpHeader, link_mss: u16) {
        let Some(listener) = self.listeners.get_mut(at) else { return };
        match cookie::answer(now, &self.secret, &flow, syn, &listener.options, link_mss) {
            Some(header) => {
                listener.cookies_until = now + cookie::LIFETIME;
                self.counters.cookies_sent += 1;
                self.reply(flow, header);
            }
            None => self.counters.syns_dropped += 1,
        }
    }

    /// The stranger who confirms with a cookie. None is looked for unless some were sent a short time ago: who has to guess one gets no
    /// chance where there is no flood.
    pub(super) fn cookie_of(
        &mut self,
        now: Instant,
        flow: &FourTuple,
        at: u32,
        header: &TcpHeader,
        link_mss: u16,
    ) -> Option<HalfOpen> {
        let listener = self.listeners.get(at)?;
        let is_confirmation = header.flags.contains(TcpFlags::ACK)
            && !header.flags.contains(TcpFlags::SYN)
            && !header.flags.contains(TcpFlags::RST);
        let may_be_good = now < listener.cookies_until || planted::is("cookie_unasked");
        if !is_confirmation || !may_be_good {
            return None;
        }
        let stranger = cookie::open(now, &self.secret, flow, header, &listener.options, link_mss);
        self.counters.cookies_failed += u64::from(stranger.is_none());
        stranger
    }

    /// A stranger confirms who was not remembered.
    pub(super) fn on_cookie(
        &mut self,
        now: Instant,
        flow: FourTuple,
        at: u32,
        (stranger, station): (HalfOpen, Option<Station>),
        segment: &mut Segment,
    ) {
        let Some(listener) = self.listeners.get(at) else { return };
        if !listener.has_room() || self.is_full() {
            self.counters.confirmations_dropped += 1;
            let may_wait = self.half_open.len() < self.limits.half_open as usize;
            if may_wait && listener.half_open <= listener.backlog {
                // It believes that it is open, and may never say anything again without being asked.
                self.wait_confirmed(now, flow, at, (stranger, station));
            }
            return;
        }
        match stranger.take_segment(now, &listener.options, segment) {
            Verdict::Open(connection) => {
                self.counters.cookies_accepted += 1;
                self.admit(now, flow, at, connection, None);
            }
            Verdict::Reset(seq) => self.reset(now, flow, seq),
            Verdict::Waits | Verdict::Answer | Verdict::Gone => {}
        }
    }

    /// Remembers a stranger who has been answered.
    fn wait_confirmed(
        &mut self,
        now: Instant,
        flow: FourTuple,
        at: u32,
        (mut stranger, station): (HalfOpen, Option<Station>),
    ) {
        stranger.set_answered(now);
        let deadline = stranger.deadline();
        if let Some(place) = self.wait(flow, at, stranger, station) {
            self.half_open_timers.arm(place, deadline);
        }
    }
}

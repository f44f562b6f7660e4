//! How large segments may be, found out by sending them: packetization layer path MTU discovery (RFC 4821), for paths whose routers
//! swallow what is too large and tell nobody.
//!
//! What gets through (`low`) and what is not known to be swallowed (`high`) come nearer to each other by probes: single larger segments
//! of new data. All is in payload bytes of a segment.

use alloc::boxed::Box;
use core::time::Duration;

use sunstar_wire::Seq;

use super::{Connection, Outgoing};
use crate::path::MIN_PATH_MTU;
use crate::time::Instant;

/// Whether a connection finds out by itself how large its segments may be (`tcp_mtu_probing` of Linux, by its numbers).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathProbing {
    /// Never: routers tell, or nobody does (0).
    Off,
    /// From the moment on when nothing gets through any more (1).
    #[default]
    AfterBlackHole,
    /// From the beginning, with segments of [`Options::base_mss`](super::Options::base_mss) (2).
    Always,
}

/// After so many timeouts in a row large segments are taken to be swallowed: R1 of RFC 1122 §4.2.3.5, as RFC 4821 §7.7 has it.
const BLACK_HOLE_TIMEOUTS: u8 = 3;

/// No path is taken for narrower (RFC 4821 §7.7 leaves that open).
const LEAST: u32 = MIN_PATH_MTU as u32 - 52;

/// What is found out is not worth a probe if it is less than this (`tcp_probe_threshold`).
const THRESHOLD: u32 = 8;

/// Once it is known what gets through, a wider path is tried after so long (RFC 4821 §7.3, `tcp_probe_interval`).
const INTERVAL: Duration = Duration::from_secs(600);

/// The congestion window has to be so many segments, so that a loss shows by what follows (RFC 4821 §7.4, as in Linux).
const LEAST_WINDOW: u32 = 11;

/// So many segments have to follow a probe, which show its loss (RFC 4821 §7.4).
const FOLLOWING: u32 = 4;

/// Which segment is due that finds something out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum DueProbe {
    #[default]
    None,
    /// One at the end of what is in flight (RFC 8985 §7.3).
    Tail,
    /// A larger one (RFC 4821 §7.5).
    Path,
}

/// What is known of the path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    low: u32,
    high: u32,
    /// What both sides and their links take.
    most: u32,
    /// The probe that is in flight: its number and length.
    probe: Option<(Seq, u32)>,
    /// The first probe is as large as may be: what was taken for a black hole may have been a silence.
    is_fresh: bool,
    /// When a search that is over begins again.
    again_at: Instant,
    news: PathNews,
}

/// What was found out of paths, and not counted yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::tcp) struct PathNews {
    pub(in crate::tcp) black_holes: u8,
    pub(in crate::tcp) arrived: u8,
    pub(in crate::tcp) lost: u8,
}

impl Search {
    fn new(low: u32, most: u32) -> Self {
        let (high, again_at, news) = (most, Instant::default(), PathNews::default());
        Self { low, high, most, probe: None, is_fresh: true, again_at, news }
    }

    /// The length of the next probe (RFC 4821 §7.3); none if all is known.
    fn next_len(&self) -> Option<u32> {
        let is_wide = self.high >= self.low + THRESHOLD;
        is_wide.then(|| if self.is_fresh { self.high } else { u32::midpoint(self.low, self.high) })
    }

    /// More than `most` bytes do not get through.
    fn narrow(&mut self, now: Instant, most: u32) {
        self.low = self.low.min(most);
        self.high = self.high.min(most);
        self.is_fresh = false;
        self.again_at = now + INTERVAL;
    }
}

impl Connection {
    /// The other side takes so much: how much is sent in the beginning.
    pub(super) fn first_mss(&mut self, most: u32) -> u32 {
        let base = u32::from(self.options.base_mss).max(LEAST).min(most);
        if self.options.path_probing != PathProbing::Always || base == most {
            return most;
        }
        self.history().search = Some(Box::new(Search::new(base, most)));
        base
    }

    fn search_mut(&mut self) -> Option<&mut Search> {
        self.history.as_deref_mut()?.search.as_deref_mut()
    }

    /// A retransmission timeout has begun. If it is the third one in a row, and what is lost is large, smaller segments may get through
    /// (RFC 4821 §7.7). Not if a router has told why nothing does.
    pub(super) fn look_for_black_hole(&mut self, now: Instant) {
        if self.timeouts < BLACK_HOLE_TIMEOUTS
            || self.options.path_probing == PathProbing::Off
            || self.is_path_broken
            || planted::is("black_hole_unseen")
        {
            return;
        }
        let base = u32::from(self.options.base_mss);
        let first = self.board().map_or(0, |board| board.first_len());
        // What is smaller than a full segment may be swallowed too.
        let mss = match self.snd_mss > base && first > base {
            true => base,
            false if self.timeouts > BLACK_HOLE_TIMEOUTS => self.snd_mss.min(first) / 2,
            false => return,
        };
        let mss = mss.max(LEAST);
        let is_swallowed = first > mss;
        if mss >= self.snd_mss || !is_swallowed {
            return;
        }
        let most = self.snd_mss;
        let search = self.history().search.get_or_insert_with(|| Box::new(Search::new(mss, most)));
        (search.low, search.probe, search.is_fresh) = (mss, None, true);
        search.news.black_holes = search.news.black_holes.saturating_add(1);
        self.send_smaller(now, mss);
        self.believe_timeout();
    }

    /// A router has told that segments of more than `mss` bytes do not fit. Answers whether that changes what is in flight.
    pub(super) fn on_told_mss(&mut self, now: Instant, mss: u32) -> bool {
        let snd_mss = self.snd_mss;
        if mss < snd_mss && self.options.path_probing == PathProbing::Always {
            // Else nothing would widen it again.
            self.history().search.get_or_insert_with(|| Box::new(Search::new(mss, snd_mss)));
        }
        let Some(search) = self.search_mut() else { return mss < snd_mss };
        search.narrow(now, mss);
        let refused = search.probe.take_if(|(_, len)| *len > mss);
        if let (Some((seq, _)), Some(queues)) = (refused, &mut self.queues) {
            self.must_resend |= queues.board.lose_segment(seq) > 0;
        }
        mss < snd_mss || refused.is_some()
    }

    /// Segments have at most `mss` bytes from now on, and larger ones that are in flight are lost.
    pub(super) fn send_smaller(&mut self, now: Instant, mss: u32) {
        self.snd_mss = mss;
        self.window.set_mss(mss);
        if let Some(queues) = &mut self.queues
            && queues.board.lose_larger_than(mss) > 0
        {
            self.must_resend = true;
            self.rearm(now);
        }
    }

    /// A round begins, and more waits to be sent: a probe of the round before has arrived by now, and the next one may be due.
    #[cold]
    pub(super) fn on_round(&mut self, now: Instant) {
        let (snd_una, snd_mss) = (self.snd_una, self.snd_mss);
        let Some(search) = self.search_mut() else { return };
        let mut arrived = None;
        if let Some((seq, len)) = search.probe {
            if snd_una.is_before(seq + len) {
                return;
            }
            // RFC 4821 §7.6.1.
            (search.probe, search.is_fresh, search.low) = (None, false, len.max(search.low));
            search.news.arrived = search.news.arrived.saturating_add(1);
            if search.next_len().is_none() {
                search.again_at = now + INTERVAL;
            }
            arrived = Some(len.max(snd_mss));
        }
        if search.next_len().is_none() && now >= search.again_at {
            (search.high, search.is_fresh) = (search.most, true);
        }
        let is_any = search.next_len().is_some();
        if let Some(mss) = arrived {
            self.snd_mss = mss;
            self.window.set_mss(mss);
        }
        if is_any && self.due_probe == DueProbe::None {
            self.due_probe = DueProbe::Path;
        }
    }

    /// Sends a probe, if one is due and the conditions of RFC 4821 §7.4 hold: all is calm, enough follows, and both windows are wide. Stays
    /// due, and holds back what follows, while only the congestion window keeps it.
    pub(super) fn path_probe(&mut self, now: Instant, outgoing: &mut Outgoing) -> bool {
        if self.due_probe != DueProbe::Path {
            return false;
        }
        let len = self.search_mut().and_then(|search| search.next_len()).unwrap_or(0);
        let needed = len + FOLLOWING * self.snd_mss;
        let is_calm = self.recovery.is_none() && self.sacked() == 0 && self.lost() == 0 && self.agreed.has_sack;
        let is_wide = self.window.cwnd >= needed.max(LEAST_WINDOW * self.snd_mss);
        let waiting = self.unsent_bytes.min(self.peer_room()).min(self.record_len());
        if len == 0 || !is_calm || !is_wide || waiting < needed || self.has_reports() {
            self.due_probe = DueProbe::None;
            return false;
        }
        self.is_cwnd_limited = true;
        if self.window.cwnd.saturating_sub(self.pipe()) < len {
            return false;
        }
        self.due_probe = DueProbe::None;
        let seq = self.snd_nxt;
        outgoing.mss = len;
        self.push(now, len, outgoing);
        if let Some(search) = self.search_mut() {
            search.probe = Some((seq, len));
        }
        true
    }

    /// `lost` bytes are lost. Answers whether that is the probe and nothing else: it was too large, which is no sign of congestion
    /// (RFC 4821 §7.6.2). If there is more, it says nothing (§7.6.4).
    pub(super) fn is_probe_lost(&mut self, now: Instant, lost: u32) -> bool {
        let Some((seq, len)) = self.search_mut().and_then(|search| search.probe.take()) else { return false };
        let is_it = lost == len && self.board().is_some_and(|board| board.is_lost(seq));
        if !is_it || planted::is("probe_is_congestion") {
            return false;
        }
        self.must_resend = true;
        if let Some(search) = self.search_mut() {
            search.narrow(now, len - 1);
            search.news.lost = search.news.lost.saturating_add(1);
        }
        true
    }

    /// The segment with the number `seq` leaves in pieces, since its link takes `room` bytes at once and no more. If it is a probe, its
    /// arrival tells nothing, and wider than its first link no path is (RFC 4821 §7.3).
    pub(in crate::tcp) fn on_cut(&mut self, now: Instant, seq: Seq, room: u32) {
        if let Some(search) = self.search_mut()
            && search.probe.take_if(|(probe, len)| *probe == seq && *len > room).is_some()
        {
            search.narrow(now, room);
        }
    }

    /// Something is sent again that is not known to be a probe: a probe that is in flight says nothing any more (RFC 4821 §7.6.4).
    pub(super) fn doubt_probe(&mut self) {
        if let Some(search) = self.search_mut() {
            search.probe = None;
        }
    }

    /// What was found out since the last time.
    pub(in crate::tcp) fn take_path_news(&mut self) -> Option<PathNews> {
        let search = self.search_mut()?;
        let news = core::mem::take(&mut search.news);
        (news != PathNews::default()).then_some(news)
    }
}

//! What must hold of all segments that leave a stack, seen from the wire.

use core::time::Duration;

use sunstar_tcpip::time::Instant;
use sunstar_wire::{
    EtherType, EthernetFrame, FourTuple, IpProtocol, Ipv4Packet, Ipv6Packet, SackBlock, Seq, TcpFlags, TcpHeader,
};
use sunstar_wire::{TcpSegment, UdpDatagram};

/// The least and the longest timeout, with room for the granularity of timers.
const MIN_TIMEOUT: Duration = Duration::from_millis(190);
const LONG_TIMEOUT: Duration = Duration::from_secs(100);

/// A segment on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) flow: FourTuple,
    pub(super) header: TcpHeader,
    pub(super) len: u32,
}

impl Seen {
    /// Reads a frame, or an IP packet, that is well formed.
    pub(super) fn read(bytes: &[u8], is_ethernet: bool) -> Option<Self> {
        let bytes = match is_ethernet {
            false => bytes,
            true => {
                let frame = EthernetFrame::parse(bytes).expect("it is well formed");
                if frame.ethertype() != EtherType::IPV4 && frame.ethertype() != EtherType::IPV6 {
                    return None;
                }
                frame.payload()
            }
        };
        let (protocol, addresses, payload) = if bytes[0] >> 4 == 6 {
            let ip = Ipv6Packet::parse(bytes).expect("it is well formed");
            (ip.next_header(), ip.addresses(), ip.payload())
        } else {
            let ip = Ipv4Packet::parse(bytes).expect("it is well formed");
            let is_whole = ip.header().fragment.is_whole();
            // Nothing of it is looked at.
            let protocol = if is_whole { ip.protocol() } else { IpProtocol::NO_NEXT_HEADER };
            (protocol, ip.addresses(), ip.payload())
        };
        if protocol == IpProtocol::UDP {
            UdpDatagram::parse(payload).expect("it is well formed");
        }
        if protocol != IpProtocol::TCP {
            return None;
        }
        let segment = TcpSegment::parse(payload).expect("it is well formed");
        let header = segment.header();
        let flow = FourTuple { addresses, src_port: header.src_port, dst_port: header.dst_port };
        Some(Self { flow, header, len: u32::try_from(segment.payload().len()).expect("it is short") })
    }

    pub(super) fn has(&self, flag: TcpFlags) -> bool {
        self.header.flags.contains(flag)
    }

    pub(super) fn end(&self) -> Seq {
        self.header.seq + self.len + u32::from(self.has(TcpFlags::SYN)) + u32::from(self.has(TcpFlags::FIN))
    }
}

/// One direction of a connection, as its segments tell.
#[derive(Debug)]
pub(super) struct Direction {
    /// As they are sent.
    pub(super) flow: FourTuple,
    pub(super) syn: Seq,
    pub(super) last: TcpHeader,
    /// Behind the last number that was sent.
    pub(super) end: Seq,
    /// Up to where the other side may send.
    pub(super) edge: Option<Seq>,
    pub(super) first_tsval: u32,
    /// Whether the stream was ended.
    pub(super) has_fin: bool,
    scale: u8,
    has_sack: bool,
    /// Came last, and was not answered.
    arrived: Option<Seen>,
    newest_tsval: u32,
    /// When the first number was sent that is not acknowledged, since something came.
    repeats: (Seq, Vec<Instant>),
}

/// All directions of all connections that are, or were.
#[derive(Debug, Default)]
pub(super) struct Watch {
    directions: Vec<Direction>,
}

impl Watch {
    pub(super) fn get(&self, flow: &FourTuple) -> Option<&Direction> {
        self.directions.iter().rfind(|direction| direction.flow == *flow)
    }

    fn get_mut(&mut self, flow: &FourTuple) -> Option<&mut Direction> {
        self.directions.iter_mut().rfind(|direction| direction.flow == *flow)
    }

    pub(super) fn nth(&self, at: usize) -> Option<&Direction> {
        self.directions.get(at.checked_rem(self.directions.len())?)
    }

    /// Something has come that is none of the other side's segments: what is sent again need not have to do with timeouts.
    pub(super) fn on_disturbance(&mut self) {
        self.directions.iter_mut().for_each(|direction| {
            direction.repeats.1.clear();
            direction.arrived = None;
        });
    }

    /// Of several answers one has opened the connection.
    fn begin(&mut self, seen: &Seen) {
        let is_it = |direction: &Direction| direction.syn + 1 == seen.header.seq;
        let is_answer = |direction: &Direction| direction.last.flags.contains(TcpFlags::SYN);
        let mut answers =
            self.directions.iter().filter(|direction| direction.flow == seen.flow && is_answer(direction));
        if answers.any(is_it) {
            self.directions.retain(|direction| direction.flow != seen.flow || is_it(direction));
        }
    }

    /// A segment arrives as it was sent.
    pub(super) fn on_arrival(&mut self, seen: &Seen) {
        let Some(receiver) = self.get_mut(&seen.flow.reversed()) else { return };
        receiver.repeats.1.clear();
        let is_answer = seen.has(TcpFlags::SYN) && seen.has(TcpFlags::ACK) && seen.header.ack == receiver.syn + 1;
        if is_answer && seen.header.options.window_scale.is_none() && receiver.last.flags.contains(TcpFlags::SYN) {
            // Who has no memory may not have agreed (RFC 7323 §2.2).
            receiver.scale = 0;
        }
        // What timestamps show to be old says nothing to the receiver.
        let tsval = seen.header.options.timestamps.map_or(0, |timestamps| timestamps.tsval);
        let is_old = tsval.wrapping_sub(receiver.newest_tsval).cast_signed() < 0;
        receiver.newest_tsval = if is_old { receiver.newest_tsval } else { tsval };
        receiver.arrived = (!is_old && seen.len > 0 && !seen.has(TcpFlags::SYN)).then_some(*seen);
    }

    /// A segment leaves; at once, or after having waited for somebody.
    pub(super) fn on_sent(&mut self, now: Instant, seen: &Seen, is_trusted: bool, leaves_at_once: bool) {
        if seen.has(TcpFlags::RST) {
            // If it does not arrive, a cookie may open the same connection once more (RFC 4987 §3.6), and nothing of it is promised.
            if let Some(this) = self.get_mut(&seen.flow) {
                this.edge = None;
            }
            return;
        }
        let is_syn = seen.has(TcpFlags::SYN);
        let is_known = self.get(&seen.flow).is_some_and(|direction| !is_syn || direction.syn == seen.header.seq);
        if !is_known {
            if !is_syn {
                return;
            }
            // The first SYN of a connection ends what is known of an earlier one. Of answers without a memory each may be the one that
            // opens a connection (RFC 4987 §3.6).
            let is_first = !seen.has(TcpFlags::ACK);
            let is_old = |old: &Direction| {
                let is_other_answer = !is_first && old.last.flags.contains(TcpFlags::SYN | TcpFlags::ACK);
                old.flow == seen.flow && !is_other_answer || (is_first && old.flow == seen.flow.reversed())
            };
            self.directions.retain(|direction| !is_old(direction));
            self.directions.push(Direction::new(seen));
        }
        if !is_syn {
            self.begin(seen);
        }
        let other = self.get(&seen.flow.reversed()).map(|other| (other.edge, other.has_sack, other.has_fin));
        let (edge, has_sack, has_fin) = other.unwrap_or_default();
        let Some(this) = self.get_mut(&seen.flow) else { return };
        if is_trusted {
            this.check_window(seen, edge);
            this.check_blocks(seen);
            // Behind the end of a stream nothing comes for which there would have to be room.
            if !has_fin {
                this.check_edge(seen);
            }
            if leaves_at_once {
                this.check_report(seen, has_sack);
                this.check_repeats(now, seen);
            }
        }
        this.take(seen);
    }
}

impl Direction {
    fn new(syn: &Seen) -> Self {
        let options = &syn.header.options;
        Self {
            flow: syn.flow,
            syn: syn.header.seq,
            last: syn.header,
            end: syn.end(),
            edge: None,
            first_tsval: options.timestamps.map_or(0, |timestamps| timestamps.tsval),
            has_fin: false,
            scale: options.window_scale.map_or(0, |scale| scale.shift()),
            has_sack: options.is_sack_permitted,
            arrived: None,
            newest_tsval: 0,
            repeats: (syn.header.seq, Vec::new()),
        }
    }

    fn take(&mut self, seen: &Seen) {
        self.last = seen.header;
        self.end = self.end.max(seen.end());
        self.arrived = None;
        self.has_fin |= seen.has(TcpFlags::FIN);
        if seen.has(TcpFlags::ACK) {
            let scale = if seen.has(TcpFlags::SYN) { 0 } else { self.scale };
            let edge = seen.header.ack + (u32::from(seen.header.window) << scale);
            self.edge = Some(self.edge.map_or(edge, |known| known.max(edge)));
        }
    }

    /// How much room was promised, beyond the scale's granularity.
    pub(super) fn granularity(&self) -> u32 {
        1 << self.scale
    }

    /// RFC 9293 §3.8.6: nothing is sent beyond the window that the other side has told.
    fn check_window(&self, seen: &Seen, edge: Option<Seq>) {
        let Some(edge) = edge.filter(|_| seen.len > 0) else { return };
        let end = seen.header.seq + seen.len;
        assert!(end.is_at_or_before(edge), "{seen:?} ends beyond the window, {edge}");
    }

    /// RFC 2018 §4: what has come last, behind a gap, is among what is reported.
    fn check_report(&self, seen: &Seen, has_sack: bool) {
        let Some(arrived) = self.arrived.filter(|_| has_sack && self.has_sack && !seen.has(TcpFlags::SYN)) else {
            return;
        };
        let (seq, end) = (arrived.header.seq, arrived.header.seq + arrived.len);
        let is_in_window = self.edge.is_some_and(|edge| end.is_at_or_before(edge));
        if seen.header.ack.is_before(seq) && is_in_window {
            let mut blocks = seen.header.options.sack.iter();
            let is_reported = blocks.any(|block| block.left.is_at_or_before(seq) && block.right.is_at_or_after(end));
            assert!(is_reported, "{:?} is missing in {:?}", (seq, end), seen.header);
        }
    }

    /// RFC 2018 §3, §4: ranges lie behind the acknowledgement, in the window, and apart from each other; but for the first one, which may
    /// tell of a duplicate (RFC 2883 §4).
    fn check_blocks(&self, seen: &Seen) {
        let blocks = &seen.header.options.sack;
        let Some((first, rest)) = blocks.split_first() else { return };
        let is_duplicate = first.right.is_at_or_before(seen.header.ack)
            || rest
                .iter()
                .any(|other| first.left.is_at_or_after(other.left) && first.right.is_at_or_before(other.right));
        let waiting = if is_duplicate { rest } else { &blocks[..] };
        assert!(first.left.is_before(first.right), "{seen:?}");
        for (at, block) in waiting.iter().enumerate() {
            let is_ahead = block.left.is_after(seen.header.ack) && block.left.is_before(block.right);
            let is_in_window = self.edge.is_none_or(|edge| block.right.is_at_or_before(edge));
            assert!(is_ahead && is_in_window, "{block:?} of {seen:?}, window up to {:?}", self.edge);
            let is_apart = |other: &SackBlock| other.right.is_before(block.left) || other.left.is_after(block.right);
            assert!(waiting[..at].iter().all(is_apart), "{block:?} of {seen:?}");
        }
    }

    /// RFC 9293 §3.8.6.2.1: the right edge of the window does not move back, but for rounding (RFC 7323 §2.4).
    fn check_edge(&self, seen: &Seen) {
        if !seen.has(TcpFlags::ACK) || seen.has(TcpFlags::SYN) {
            return;
        }
        let edge = seen.header.ack + (u32::from(seen.header.window) << self.scale) + self.granularity();
        assert!(self.edge.is_none_or(|known| edge.is_at_or_after(known)), "{seen:?}, promised {:?}", self.edge);
    }

    /// RFC 6298 §5: while nothing comes, what is sent again comes less and less often, and never sooner than the least timeout.
    fn check_repeats(&mut self, now: Instant, seen: &Seen) {
        if seen.end() == seen.header.seq {
            return;
        }
        let (seq, times) = &mut self.repeats;
        if times.is_empty() || seen.header.seq.is_before(*seq) {
            (*seq, *times) = (seen.header.seq, vec![now]);
        } else if *seq == seen.header.seq && times.last() != Some(&now) {
            times.push(now);
        }
        // The first ones may be probes of the tail, or what was found to be late.
        if let [.., a, b, c] = times[..]
            && times.len() >= 5
        {
            let (before, after) = (b - a, c - b);
            assert!(after >= MIN_TIMEOUT, "{seen:?} comes again after {after:?}");
            assert!(after >= LONG_TIMEOUT || after >= before * 3 / 2, "{seen:?} after {before:?} and {after:?}");
        }
    }
}

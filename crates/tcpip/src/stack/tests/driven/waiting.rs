//! Whether what a host has made may wait before it leaves.

use sunstar_wire::{EtherType, EthernetFrame, IpProtocol, Ipv6Packet};

/// What a host waits for.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// It has asked where its neighbour is.
    is_asking: bool,
    is_answered: bool,
    /// Its device takes nothing, or did so a moment ago.
    was_paused: bool,
}

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// Whether a frame asks for a neighbour, or says where one is.
fn is_of_neighbours(frame: &EthernetFrame<'_>) -> bool {
    match frame.ethertype() {
        EtherType::ARP => true,
        EtherType::IPV6 => Ipv6Packet::parse(frame.payload()).is_ok_and(|ip| {
            let is_icmp = ip.next_header() == IpProtocol::ICMPV6;
            is_icmp && matches!(ip.payload().first(), Some(&SOLICITATION | &ADVERTISEMENT))
        }),
        _ => false,
    }
}

/// Whether a frame that comes says where the neighbour is: also who asks does.
pub(super) fn is_answer(bytes: &[u8]) -> bool {
    EthernetFrame::parse(bytes).is_ok_and(|frame| is_of_neighbours(&frame))
}

impl Waiting {
    /// A frame leaves that is no segment. What is asked of all is asked because something waits.
    pub(super) fn on_sent(&mut self, bytes: &[u8]) {
        let Ok(frame) = EthernetFrame::parse(bytes) else { return };
        if is_of_neighbours(&frame) && !frame.dst().is_unicast() {
            (self.is_asking, self.is_answered) = (true, false);
        }
    }

    /// It knows where its neighbour is.
    pub(super) fn on_answer(&mut self) {
        self.is_answered = true;
    }

    pub(super) fn on_pause(&mut self) {
        self.was_paused = true;
    }

    /// Whether what leaves may have been made before.
    pub(super) fn is_any(&self) -> bool {
        self.is_asking || self.was_paused
    }

    /// All has left that could; answers whether some of it may have waited.
    pub(super) fn settle(&mut self, is_paused: bool) -> bool {
        let was_any = self.is_any();
        self.was_paused &= is_paused;
        if self.is_answered {
            (self.is_asking, self.is_answered) = (false, false);
        }
        was_any && !self.is_any()
    }
}

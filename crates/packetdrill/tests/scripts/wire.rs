//! The peer of a script: its segments as bytes, and ours as scripts write them.

use std::net::{IpAddr, SocketAddr};

use sunstar_wire::checksum::{Fill, Sum, pseudo_header};
use sunstar_wire::{
    AddressPair, IpProtocol, Ipv4Header, Ipv4Packet, Ipv6Header, Ipv6Packet, SackBlock, Seq, TcpFlags, TcpHeader,
    TcpOptions, TcpSegment, TcpTimestamps, WindowScale,
};

use super::parse::Segment;

/// What each letter of a segment's flags means.
const FLAGS: [(char, TcpFlags); 6] = [
    ('S', TcpFlags::SYN),
    ('F', TcpFlags::FIN),
    ('R', TcpFlags::RST),
    ('P', TcpFlags::PSH),
    ('U', TcpFlags::URG),
    ('.', TcpFlags::ACK),
];

/// Where the peer begins to count, which is zero in scripts.
const PEER_ISN: u32 = 0xffff_f000;

/// So far our clock may be from what a script says, in milliseconds.
const CLOCK_TOLERANCE: u32 = 5;

/// A segment of ours, when it left, and how many bytes it carries.
pub(crate) struct Sent {
    pub(crate) at: i64,
    pub(crate) header: TcpHeader,
    pub(crate) len: u32,
}

/// How numbers of scripts become those of the wire.
pub(crate) struct Wire {
    pub(crate) ours: SocketAddr,
    pub(crate) theirs: SocketAddr,
    /// Where we began to count, if we have.
    isn: u32,
    has_begun: bool,
    /// What our clock said more than the script does.
    clock: Option<u32>,
}

fn flags(text: &str) -> Result<TcpFlags, String> {
    text.chars().try_fold(TcpFlags::NONE, |flags, letter| {
        let known = FLAGS.iter().find(|(known, _)| *known == letter);
        known.map(|(_, flag)| flags | *flag).ok_or(format!("{letter} is no flag"))
    })
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

impl Wire {
    pub(crate) fn new(ours: SocketAddr, theirs: SocketAddr) -> Self {
        Self { ours, theirs, isn: 0, has_begun: false, clock: None }
    }

    fn addresses(&self) -> AddressPair {
        match (self.theirs.ip(), self.ours.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => AddressPair::V4 { src, dst },
            (IpAddr::V6(src), IpAddr::V6(dst)) => AddressPair::V6 { src, dst },
            _ => unreachable!("both are of one version"),
        }
    }

    /// A segment of the peer as a packet.
    pub(crate) fn packet(&self, segment: &Segment) -> Result<Vec<u8>, String> {
        let header = TcpHeader {
            src_port: self.theirs.port(),
            dst_port: self.ours.port(),
            seq: Seq::new(PEER_ISN.wrapping_add(segment.seq)),
            ack: Seq::new(segment.ack.map_or(0, |ack| self.isn.wrapping_add(ack))),
            flags: flags(&segment.flags)?,
            window: segment.window.unwrap_or(0),
            options: self.options(segment.options.as_deref().ok_or("the peer's options must be said")?, false)?,
            ..TcpHeader::default()
        };
        let payload: Vec<u8> = (0..segment.len).map(|index| index.to_le_bytes()[0]).collect();
        let len = header.header_len() + payload.len();
        let total = u32::try_from(len).map_err(|error| error.to_string())?;
        let addresses = self.addresses();
        let sum = pseudo_header(addresses, IpProtocol::TCP, total) + Sum::of(&payload);
        let tcp = header.to_bytes(Fill::Complete(sum));
        let ip = match addresses {
            AddressPair::V4 { src, dst } => {
                Ipv4Header::new(IpProtocol::TCP, src, dst).to_bytes(len).map(|bytes| bytes.to_vec())
            }
            AddressPair::V6 { src, dst } => {
                Ipv6Header::new(IpProtocol::TCP, src, dst).to_bytes(len).map(|bytes| bytes.to_vec())
            }
        };
        let ip = ip.map_err(|_| "the packet is too long")?;
        Ok([&ip[..], &tcp[..], &payload[..]].concat())
    }

    /// Options; in ours numbers of bytes are the peer's and the clock's are ours, in the peer's it is the other way round.
    fn options(&self, texts: &[String], are_ours: bool) -> Result<TcpOptions, String> {
        let mut options = TcpOptions::default();
        let clock = self.clock.unwrap_or(0);
        for text in texts {
            match text.split_whitespace().collect::<Vec<_>>()[..] {
                ["nop" | "eol"] => {}
                ["sackOK"] => options.is_sack_permitted = true,
                ["mss", value] => options.mss = Some(number(value)?),
                ["wscale", value] => options.window_scale = Some(WindowScale::new(number(value)?)),
                ["TS", "val", tsval, "ecr", tsecr] => {
                    let (tsval, tsecr): (u32, u32) = (number(tsval)?, number(tsecr)?);
                    let echoed = if tsecr == 0 { 0 } else { tsecr.wrapping_add(clock) };
                    options.timestamps = Some(match are_ours {
                        true => TcpTimestamps { tsval: tsval.wrapping_add(clock), tsecr },
                        false => TcpTimestamps { tsval, tsecr: echoed },
                    });
                }
                ["sack", ref blocks @ ..] => {
                    let base = if are_ours { PEER_ISN } else { self.isn };
                    options.sack = blocks.iter().map(|block| sack(block, base)).collect::<Result<_, _>>()?;
                }
                _ => return Err(format!("the option {text} is not known")),
            }
        }
        Ok(options)
    }

    /// Reads a packet of ours.
    pub(crate) fn read(&self, at: i64, bytes: &[u8]) -> Result<Sent, String> {
        let broken = |error| format!("we sent no packet: {error:?}");
        let (protocol, payload) = match self.ours {
            SocketAddr::V4(_) => {
                let packet = Ipv4Packet::parse(bytes).map_err(broken)?;
                (packet.protocol(), packet.payload())
            }
            SocketAddr::V6(_) => {
                let packet = Ipv6Packet::parse(bytes).map_err(broken)?;
                (packet.next_header(), packet.payload())
            }
        };
        if protocol != IpProtocol::TCP {
            return Err(format!("we sent protocol {protocol:?}"));
        }
        let segment = TcpSegment::parse(payload).map_err(broken)?;
        let backwards = match self.addresses() {
            AddressPair::V4 { src, dst } => AddressPair::V4 { src: dst, dst: src },
            AddressPair::V6 { src, dst } => AddressPair::V6 { src: dst, dst: src },
        };
        if !segment.has_valid_checksum(backwards) {
            return Err("we sent a wrong checksum".to_owned());
        }
        let len = u32::try_from(segment.payload().len()).map_err(|error| error.to_string())?;
        Ok(Sent { at, header: segment.header(), len })
    }

    /// Learns from the first SYN of ours where we begin to count, and from which port.
    pub(crate) fn learn(&mut self, sent: &Sent, segment: &Segment) {
        if sent.header.flags.contains(TcpFlags::SYN) && !std::mem::replace(&mut self.has_begun, true) {
            self.isn = sent.header.seq.value().wrapping_sub(segment.seq);
            self.ours.set_port(sent.header.src_port);
        }
        let said = segment.options.iter().flatten().find_map(|text| text.strip_prefix("TS val ")?.split_once(' '));
        if let (None, Some(timestamps), Some((said, _))) = (self.clock, sent.header.options.timestamps, said) {
            self.clock = said.parse().ok().map(|said| timestamps.tsval.wrapping_sub(said));
        }
    }

    /// Compares what we sent, of which `len` bytes had come in segments before, with what the script says.
    pub(crate) fn compare(&self, sent: &Sent, before: u32, segment: &Segment) -> Result<(), String> {
        let is_last = before + sent.len >= segment.len;
        let mut wanted = flags(&segment.flags)?;
        let mut header = sent.header;
        if !is_last {
            (wanted, header.flags) = (wanted.without(TcpFlags::PSH), header.flags.without(TcpFlags::PSH));
        }
        let same = |what: &str, wanted: &dyn std::fmt::Debug, found: &dyn std::fmt::Debug| {
            let (wanted, found) = (format!("{wanted:?}"), format!("{found:?}"));
            if wanted == found { Ok(()) } else { Err(format!("{what} is {found}, not {wanted}")) }
        };
        same("flags", &wanted, &header.flags)?;
        same("seq", &segment.seq.wrapping_add(before), &header.seq.value().wrapping_sub(self.isn))?;
        if header.flags.contains(TcpFlags::ACK) || segment.ack.is_some() {
            same("ack", &segment.ack, &Some(header.ack.value().wrapping_sub(PEER_ISN)))?;
        }
        if let Some(window) = segment.window {
            same("window", &window, &header.window)?;
        }
        let Some(texts) = &segment.options else { return Ok(()) };
        let mut wanted = self.options(texts, true)?;
        if let (Some(wanted), Some(found)) = (&mut wanted.timestamps, header.options.timestamps) {
            let late = found.tsval.wrapping_sub(wanted.tsval).wrapping_add(CLOCK_TOLERANCE);
            if late <= 2 * CLOCK_TOLERANCE {
                wanted.tsval = found.tsval;
            }
        }
        same("options", &wanted, &header.options)
    }
}

fn sack(text: &str, base: u32) -> Result<SackBlock, String> {
    let (left, right) = text.split_once(':').ok_or(format!("{text} is no block"))?;
    let edge = |text: &str| Ok::<_, String>(Seq::new(base.wrapping_add(number(text)?)));
    Ok(SackBlock { left: edge(left)?, right: edge(right)? })
}

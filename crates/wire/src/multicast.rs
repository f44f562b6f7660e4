//! Who listens to which groups: IGMPv3 (RFC 3376) and MLDv2 (RFC 3810), and the older queries.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use crate::checksum::Sum;
use crate::error::Error;
use crate::icmpv6::{Icmpv6Header, Icmpv6Packet};

const IGMP_HEADER_BYTES: usize = 8;
const IGMP_QUERY: u8 = 0x11;
const IGMP_REPORT: u8 = 0x22;
const MLD_QUERY: u8 = 130;
const MLD_REPORT_V1: u8 = 131;
const MLD_DONE: u8 = 132;
const MLD_REPORT: u8 = 143;

/// To whom reports of IGMPv3 go (RFC 3376 §4.2.14).
pub const IGMP_REPORTS_TO: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
/// To whom reports of MLDv2 go (RFC 3810 §5.2.14).
pub const MLD_REPORTS_TO: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// A router asks who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupQuery<A> {
    /// To which group; the unspecified address stands for all.
    pub group: A,
    /// Answers are spread over so long.
    pub max_response: Duration,
    /// Which version the router speaks: 1 to 3 of IGMP, 1 or 2 of MLD.
    pub version: u8,
    /// How often a change is told (the querier's robustness variable); zero if it does not say.
    pub robustness: u8,
    /// Whether it asks about single sources. Who listens to all of them is meant anyhow.
    pub has_sources: bool,
}

/// What is said about a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupRecord {
    /// All sources are listened to: the current state (`MODE_IS_EXCLUDE` without sources).
    IsListening,
    /// From now on all sources are listened to (`CHANGE_TO_EXCLUDE_MODE` without sources).
    Joins,
    /// From now on none is listened to (`CHANGE_TO_INCLUDE_MODE` without sources).
    Leaves,
}

impl GroupRecord {
    const fn kind(self) -> u8 {
        match self {
            Self::IsListening => 2,
            Self::Leaves => 3,
            Self::Joins => 4,
        }
    }

    /// The record of a group of IPv4, as it stands in a report.
    pub const fn igmp_bytes(self, group: Ipv4Addr) -> [u8; 8] {
        let [a, b, c, d] = group.octets();
        [self.kind(), 0, 0, 0, a, b, c, d]
    }

    /// The record of a group of IPv6, as it stands in a report.
    pub fn mld_bytes(self, group: Ipv6Addr) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[0] = self.kind();
        bytes[4..].copy_from_slice(&group.octets());
        bytes
    }
}

impl GroupQuery<Ipv4Addr> {
    /// Reads a message of IGMP.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::MessageKind`] if it is no query.
    pub fn parse_igmp(bytes: &[u8]) -> Result<Self, Error> {
        let ([kind, code, _, _, a, b, c, d], rest) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        if *kind != IGMP_QUERY {
            return Err(Error::MessageKind);
        }
        let group = Ipv4Addr::new(*a, *b, *c, *d);
        // §7.1: by the length; version 1 has no code, and means ten seconds (RFC 2236 §4).
        let (version, tenths) = match (rest.len(), *code) {
            (0, 0) => (1, 100),
            (0, code) => (2, u32::from(code)),
            (1..4, _) => return Err(Error::Truncated),
            (_, code) => (3, exponential_8(code)),
        };
        let max_response = Duration::from_millis(100) * tenths;
        let (robustness, has_sources) = more(rest);
        Ok(Self { group, max_response, version, robustness, has_sources })
    }
}

impl GroupQuery<Ipv6Addr> {
    /// Reads a message of MLD.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::MessageKind`] if it is no query.
    pub fn parse_mld(packet: &Icmpv6Packet<'_>) -> Result<Self, Error> {
        if packet.kind() != MLD_QUERY || packet.code() != 0 {
            return Err(Error::MessageKind);
        }
        let (group, rest) = packet.body().split_first_chunk::<16>().ok_or(Error::Truncated)?;
        let [a, b, _, _] = packet.rest();
        let code = u16::from_be_bytes([a, b]);
        // §8.1: by the length.
        let (version, millis) = match rest.len() {
            0 => (1, u32::from(code)),
            1..4 => return Err(Error::Truncated),
            _ => (2, exponential_16(code)),
        };
        let (robustness, has_sources) = more(rest);
        Ok(Self {
            group: Ipv6Addr::from_octets(*group),
            max_response: Duration::from_millis(millis.into()),
            version,
            robustness,
            has_sources,
        })
    }
}

/// A message of the older versions, about one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldGroupMessage {
    /// Somebody listens, as IGMPv1 says it (RFC 1112, appendix I).
    ReportV1,
    /// Somebody listens (IGMPv2, RFC 2236 §2.1; MLDv1, RFC 2710 §3).
    Report,
    /// Somebody listens no more (the same; MLD calls it done).
    Leave,
}

impl OldGroupMessage {
    const ALL: [Self; 3] = [Self::ReportV1, Self::Report, Self::Leave];

    const fn igmp_kind(self) -> u8 {
        match self {
            Self::ReportV1 => 0x12,
            Self::Report => 0x16,
            Self::Leave => 0x17,
        }
    }

    /// The message of IGMP about a group.
    pub fn igmp_bytes(self, group: Ipv4Addr) -> [u8; IGMP_HEADER_BYTES] {
        let [a, b, c, d] = group.octets();
        let mut bytes = [self.igmp_kind(), 0, 0, 0, a, b, c, d];
        let checksum = Sum::of(&bytes).checksum();
        bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// Reads a message of IGMP, and the group that it is about.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::MessageKind`] if it is none of these.
    pub fn parse_igmp(bytes: &[u8]) -> Result<(Self, Ipv4Addr), Error> {
        let ([kind, _, _, _, a, b, c, d], _) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        let message = Self::ALL.into_iter().find(|message| message.igmp_kind() == *kind).ok_or(Error::MessageKind)?;
        Ok((message, Ipv4Addr::new(*a, *b, *c, *d)))
    }

    /// The header of the message of MLD; the group follows it.
    pub const fn mld_header(self) -> Icmpv6Header {
        let kind = if matches!(self, Self::Leave) { MLD_DONE } else { MLD_REPORT_V1 };
        Icmpv6Header::Other { kind, code: 0, rest: [0; 4] }
    }

    /// Reads a message of MLD, and the group that it is about.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::MessageKind`] if it is none of these.
    pub fn parse_mld(packet: &Icmpv6Packet<'_>) -> Result<(Self, Ipv6Addr), Error> {
        let message = match packet.kind() {
            MLD_REPORT_V1 => Self::Report,
            MLD_DONE => Self::Leave,
            _ => return Err(Error::MessageKind),
        };
        let (group, _) = packet.body().split_first_chunk::<16>().ok_or(Error::Truncated)?;
        Ok((message, Ipv6Addr::from_octets(*group)))
    }
}

/// What queries of the current versions say behind the group.
fn more(rest: &[u8]) -> (u8, bool) {
    match rest {
        [flags, _, a, b, ..] => (flags & 7, [*a, *b] != [0; 2]),
        _ => (0, false),
    }
}

/// RFC 3376 §4.1.1.
fn exponential_8(code: u8) -> u32 {
    let code = u32::from(code);
    if code < 0x80 { code } else { ((code & 0xf) | 0x10) << (((code >> 4) & 7) + 3) }
}

/// RFC 3810 §5.1.3.
fn exponential_16(code: u16) -> u32 {
    let code = u32::from(code);
    if code < 0x8000 { code } else { ((code & 0xfff) | 0x1000) << (((code >> 12) & 7) + 3) }
}

/// The header of a report of IGMPv3 with so many records, which have the sum `records`.
pub fn igmp_report(count: u16, records: Sum) -> [u8; IGMP_HEADER_BYTES] {
    let [c, d] = count.to_be_bytes();
    let mut bytes = [IGMP_REPORT, 0, 0, 0, 0, 0, c, d];
    let checksum = (Sum::of(&bytes) + records).checksum();
    bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// The header of a report of MLDv2 with so many records.
pub const fn mld_report(count: u16) -> Icmpv6Header {
    let [c, d] = count.to_be_bytes();
    Icmpv6Header::Other { kind: MLD_REPORT, code: 0, rest: [0, 0, c, d] }
}

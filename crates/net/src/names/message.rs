//! Questions and answers as they go over the wire (RFC 1035 §4). The codec is that of `simple-dns`.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use simple_dns::rdata::{OPT, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

use super::{MAX_ALIASES, Service};

/// Records that are taken of an answer.
pub const MAX_RECORDS: usize = 64;

/// Bytes of a datagram that arrives everywhere (RFC 9715 §3.1).
const UDP_BYTES: u16 = 1_232;

/// Bytes of a message's header, and of the smallest question.
const HEADER_BYTES: usize = 12;
const MIN_QUESTION_BYTES: usize = 5;

/// For so long answers are believed at most: that there is one, and that there is none (RFC 2308 §5).
const MAX_TTL: Duration = Duration::from_secs(86_400);
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(3_600);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// Addresses of IPv4.
    A,
    /// Addresses of IPv6.
    Aaaa,
    /// Where a service is.
    Srv,
    /// The name of an address.
    Ptr,
}

impl RecordKind {
    const fn wire(self) -> TYPE {
        match self {
            Self::A => TYPE::A,
            Self::Aaaa => TYPE::AAAA,
            Self::Srv => TYPE::SRV,
            Self::Ptr => TYPE::PTR,
        }
    }
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Ip(IpAddr),
    Service(Service),
    Name(Box<str>),
}

impl Data {
    pub(super) fn ip(&self) -> Option<IpAddr> {
        if let Self::Ip(ip) = self { Some(*ip) } else { None }
    }

    pub(super) fn service(&self) -> Option<Service> {
        if let Self::Service(service) = self { Some(service.clone()) } else { None }
    }

    pub(super) fn name(&self) -> Option<Box<str>> {
        if let Self::Name(name) = self { Some(name.clone()) } else { None }
    }

    fn read(data: &RData<'_>, kind: RecordKind) -> Option<Self> {
        Some(match (data, kind) {
            (RData::A(a), RecordKind::A) => Self::Ip(Ipv4Addr::from_bits(a.address).into()),
            (RData::AAAA(aaaa), RecordKind::Aaaa) => Self::Ip(Ipv6Addr::from_bits(aaaa.address).into()),
            (RData::PTR(ptr), RecordKind::Ptr) => Self::Name(text(&ptr.0)?),
            (RData::SRV(srv), RecordKind::Srv) => Self::Service(Service {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: text(&srv.target)?,
            }),
            _ => return None,
        })
    }
}

/// What a server says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// It has this, for so long.
    Found(Vec<Data>, Duration),
    /// It stands for another name, of which more must be asked.
    Alias(Box<str>, Duration),
    /// There is nothing of that kind, or (`is_name_unknown`) no such name. Not to be remembered if no time is said.
    Missing { is_name_unknown: bool, ttl: Option<Duration> },
    /// It did not fit.
    Truncated,
    /// The server does not understand what was asked beside the name (RFC 6891 §7).
    NoExtensions,
    /// The server could not, or would not, answer.
    Failed,
}

/// A question as it is sent; nothing if it is none.
pub(super) fn question(id: u16, name: &str, kind: RecordKind, has_extensions: bool) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let (qtype, qclass) = (QTYPE::TYPE(kind.wire()), QCLASS::CLASS(CLASS::IN));
    packet.questions.push(Question::new(Name::new(name).ok()?, qtype, qclass, false));
    if has_extensions {
        *packet.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: UDP_BYTES, version: 0 });
    }
    packet.build_bytes_vec().ok()
}

/// Reads an answer; nothing if it is none to this question.
pub(super) fn answer(bytes: &[u8], id: u16, name: &str, kind: RecordKind) -> Option<Reply> {
    let packet = Some(bytes).filter(|bytes| is_plausible(bytes)).and_then(|bytes| Packet::parse(bytes).ok())?;
    let is_ours = packet.id() == id || planted::is("dns_any_id");
    if !is_ours || !packet.has_flags(PacketFlag::RESPONSE) {
        return None;
    }
    let asked = Name::new(name).ok()?;
    let [question] = &packet.questions[..] else { return None };
    let is_it = question.qname == asked && question.qtype == QTYPE::TYPE(kind.wire());
    if !is_it && !planted::is("dns_any_question") {
        return None;
    }
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Some(Reply::Truncated);
    }
    match packet.rcode() {
        RCODE::NoError | RCODE::NameError => Some(follow(&packet, &asked, kind)),
        RCODE::FormatError | RCODE::NotImplemented => Some(Reply::NoExtensions),
        _ => Some(Reply::Failed),
    }
}

/// Whether there is room for as many entries as the header says: memory is taken for them before they are read.
fn is_plausible(bytes: &[u8]) -> bool {
    let Some(counts) = bytes.get(4..HEADER_BYTES) else { return false };
    let entries: usize =
        counts.chunks_exact(2).map(|count| usize::from(u16::from_be_bytes([count[0], count[1]]))).sum();
    entries * MIN_QUESTION_BYTES <= bytes.len() - HEADER_BYTES
}

/// RFC 1034 §3.6.2: the records of the name, or of that for which it stands.
fn follow(packet: &Packet<'_>, asked: &Name<'_>, kind: RecordKind) -> Reply {
    let mut name = asked;
    let mut ttl = MAX_TTL;
    for _ in 0..=MAX_ALIASES {
        let own = packet.answers.iter().filter(|record| record.class == CLASS::IN && record.name == *name);
        let found = own.clone().filter_map(|record| Some((Data::read(&record.rdata, kind)?, record.ttl)));
        let (data, ttls): (Vec<Data>, Vec<u32>) = found.take(MAX_RECORDS).unzip();
        if !data.is_empty() {
            let least = ttls.into_iter().min().map_or(ttl, |ttl| Duration::from_secs(ttl.into()));
            return Reply::Found(data, ttl.min(least));
        }
        let mut aliases = own.filter_map(|record| match &record.rdata {
            RData::CNAME(alias) => Some((&alias.0, record.ttl)),
            _ => None,
        });
        let Some((alias, alias_ttl)) = aliases.next() else { break };
        (name, ttl) = (alias, ttl.min(Duration::from_secs(alias_ttl.into())));
    }
    if packet.rcode() == RCODE::NoError && name != asked {
        return text(name).map_or(Reply::Failed, |name| Reply::Alias(name, ttl));
    }
    Reply::Missing { is_name_unknown: packet.rcode() == RCODE::NameError, ttl: negative_ttl(packet) }
}

/// RFC 2308 §5.
fn negative_ttl(packet: &Packet<'_>) -> Option<Duration> {
    packet.name_servers.iter().find_map(|record| match &record.rdata {
        RData::SOA(soa) => Some(Duration::from_secs(soa.minimum.min(record.ttl).into()).min(MAX_NEGATIVE_TTL)),
        _ => None,
    })
}

/// A name as it is shown, in small letters; nothing if it has bytes that no host's name has.
fn text(name: &Name<'_>) -> Option<Box<str>> {
    let text = format!("{name}").to_ascii_lowercase();
    super::hosts::is_name(&text).then(|| text.into())
}

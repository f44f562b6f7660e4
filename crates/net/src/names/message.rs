//! Questions, and what answers say of them (RFC 1035 §4).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::wire::{CLASS_IN, Header, Name, Reader, Record};
use super::{MAX_ALIASES, Service};

/// Records that are taken of an answer.
pub const MAX_RECORDS: usize = 64;

/// Bytes of a datagram that arrives everywhere (RFC 9715 §3.1): servers are told to send no longer ones.
pub(super) const UDP_BYTES: u16 = 1_232;

/// Kinds of records, beside those that are asked for.
const CNAME: u16 = 5;
const SOA: u16 = 6;
const OPT: u16 = 41;

/// What servers say of questions (RFC 1035 §4.1.1).
const NO_ERROR: u8 = 0;
const FORMAT_ERROR: u8 = 1;
const NAME_ERROR: u8 = 3;
const NOT_IMPLEMENTED: u8 = 4;

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
    const fn wire(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
            Self::Srv => 33,
            Self::Ptr => 12,
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

    /// Of which there may be none, if it names what may be no host.
    fn read(reader: &mut Reader<'_>, kind: RecordKind) -> Option<Option<Self>> {
        Some(match kind {
            RecordKind::A => Some(Self::Ip(Ipv4Addr::from_octets(reader.take()?).into())),
            RecordKind::Aaaa => Some(Self::Ip(Ipv6Addr::from_octets(reader.take()?).into())),
            RecordKind::Ptr => reader.name()?.text().map(Self::Name),
            RecordKind::Srv => {
                let (priority, weight, port) = (reader.u16()?, reader.u16()?, reader.u16()?);
                let target = reader.name()?.text();
                target.map(|target| Self::Service(Service { priority, weight, port, target }))
            }
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
    // Recursion is desired.
    let header = [id, 0x0100, 1, 0, 0, has_extensions.into()];
    let mut bytes: Vec<u8> = header.into_iter().flat_map(u16::to_be_bytes).collect();
    bytes.extend_from_slice(Name::of(name)?.wire());
    bytes.extend([kind.wire(), CLASS_IN].into_iter().flat_map(u16::to_be_bytes));
    if has_extensions {
        // RFC 6891 §6.1.2: of the root, version 0, without flags or data.
        bytes.push(0);
        bytes.extend([OPT, UDP_BYTES, 0, 0, 0].into_iter().flat_map(u16::to_be_bytes));
    }
    Some(bytes)
}

/// Reads an answer; nothing if it is none to this question.
///
/// What the header says is looked at first. Who did not understand the question, or had no room, may not repeat it, and what does not
/// fit may end anywhere (RFC 2181 §9).
pub(super) fn answer(bytes: &[u8], id: u16, name: &str, kind: RecordKind) -> Option<Reply> {
    let header = Header::read(bytes)?;
    let is_ours = header.id == id || planted::is("dns_any_id");
    if !is_ours || !header.is_response() {
        return None;
    }
    let (asked, mut reader) = (Name::of(name)?, Reader::new(bytes));
    let has_question = match header.counts[0] {
        0 => false,
        1 => match reader.question() {
            Some(question) if question == (asked.clone(), kind.wire(), CLASS_IN) => true,
            Some(_) => planted::is("dns_any_question").then_some(true)?,
            None if header.is_truncated() => false,
            None => return None,
        },
        _ => return None,
    };
    if header.is_truncated() {
        return Some(Reply::Truncated);
    }
    match header.rcode() {
        NO_ERROR | NAME_ERROR if has_question => Records::read(reader, &header, kind)?.follow(asked),
        NO_ERROR | NAME_ERROR => None,
        FORMAT_ERROR | NOT_IMPLEMENTED => Some(Reply::NoExtensions),
        _ => Some(Reply::Failed),
    }
}

/// What the records of an answer say.
struct Records {
    is_name_unknown: bool,
    /// Of the kind that was asked for, with owners and times.
    data: Vec<(Name, Data, u32)>,
    aliases: Vec<(Name, Name, u32)>,
    /// For so long there is nothing more in this zone (RFC 2308 §5).
    nothing: Option<(Name, Duration)>,
    /// What the server says by the extensions (RFC 6891 §6.1.3).
    is_failure: bool,
}

impl Records {
    fn read(mut reader: Reader<'_>, header: &Header, kind: RecordKind) -> Option<Self> {
        let [_, answers, authorities, others] = header.counts;
        let is_name_unknown = header.rcode() == NAME_ERROR;
        let mut records =
            Self { is_name_unknown, data: Vec::new(), aliases: Vec::new(), nothing: None, is_failure: false };
        for _ in 0..answers {
            let record = reader.record()?;
            records.take_answer(&mut reader, record, kind)?;
        }
        for _ in 0..authorities {
            let record = reader.record()?;
            if record.kind == SOA && records.nothing.is_none() {
                let minimum = reader.data(record, soa_minimum)?;
                let ttl = Duration::from_secs(minimum.min(record.ttl).into()).min(MAX_NEGATIVE_TTL);
                records.nothing = Some((reader.owner(record)?, ttl));
            }
        }
        for _ in 0..others {
            let record = reader.record()?;
            records.is_failure |= record.kind == OPT && record.extended_rcode() != 0;
        }
        Some(records)
    }

    fn take_answer(&mut self, reader: &mut Reader<'_>, record: Record, kind: RecordKind) -> Option<()> {
        if record.class != CLASS_IN {
            return Some(());
        }
        if record.kind == kind.wire() {
            if let Some(data) = reader.data(record, |reader| Data::read(reader, kind))? {
                self.data.push((reader.owner(record)?, data, record.ttl));
            }
        } else if record.kind == CNAME {
            let alias = reader.data(record, Reader::name)?;
            self.aliases.push((reader.owner(record)?, alias, record.ttl));
        }
        Some(())
    }

    /// RFC 1034 §3.6.2: the records of the name, or of that for which it stands.
    fn follow(self, asked: Name) -> Option<Reply> {
        if self.is_failure {
            return Some(Reply::Failed);
        }
        let (mut name, mut ttl) = (&asked, MAX_TTL);
        for _ in 0..=MAX_ALIASES {
            let own = self.data.iter().filter(|(owner, ..)| owner == name || planted::is("dns_any_owner"));
            let found = own.map(|(_, data, ttl)| (data.clone(), *ttl));
            let (data, ttls): (Vec<Data>, Vec<u32>) = found.take(MAX_RECORDS).unzip();
            if let Some(least) = ttls.into_iter().min() {
                return Some(Reply::Found(data, ttl.min(Duration::from_secs(least.into()))));
            }
            let Some((_, alias, alias_ttl)) = self.aliases.iter().find(|(owner, ..)| owner == name) else { break };
            (name, ttl) = (alias, ttl.min(Duration::from_secs((*alias_ttl).into())));
        }
        // RFC 2308 §2.2: the zone of the last name says that there is nothing more.
        let is_end = self.nothing.as_ref().is_some_and(|(zone, _)| name.is_within(zone));
        if !self.is_name_unknown && *name != asked && !is_end {
            return Some(name.text().map_or(Reply::Failed, |name| Reply::Alias(name, ttl)));
        }
        let ttl = self.nothing.map(|(_, nothing)| nothing.min(ttl));
        Some(Reply::Missing { is_name_unknown: self.is_name_unknown, ttl })
    }
}

/// RFC 1035 §3.3.13: behind two names and four other numbers.
fn soa_minimum(reader: &mut Reader<'_>) -> Option<u32> {
    reader.name()?;
    reader.name()?;
    reader.take::<16>()?;
    reader.u32()
}

//! Answers beside a plain way to read them, from RFC 1035 and what changed it: the check behind the fuzz target and the properties.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::ops::Range;
use core::time::Duration;

use super::message::{Data, MAX_RECORDS, RecordKind, Reply, answer};
use super::{MAX_ALIASES, Service};

/// The number of the questions.
pub(crate) const ID: u16 = 7;

/// What the first byte of an input chooses from.
const KINDS: [(RecordKind, u16); 4] =
    [(RecordKind::A, 1), (RecordKind::Aaaa, 28), (RecordKind::Srv, 33), (RecordKind::Ptr, 12)];
const NAMES: [&str; 2] = ["a.test", "_s._tcp.b.test"];

/// Reads all bytes behind the first one as an answer to the question that the first one chooses, and compares what is understood with
/// what should be.
pub(crate) fn check(bytes: &[u8]) {
    let Some((&choice, message)) = bytes.split_first() else { return };
    let (kind, number) = KINDS[usize::from(choice & 3)];
    let name = NAMES[usize::from(choice >> 2 & 1)];
    assert_eq!(answer(message, ID, name, kind), expected(message, name, number), "{name} {kind:?} {message:02x?}");
}

/// The labels of a name, in small letters.
type Labels = Vec<Vec<u8>>;

/// A record: its kind and class, its time as it is written, and where its owner and its data are.
pub(crate) struct Row {
    owner: usize,
    pub(crate) kind: u16,
    class: u16,
    raw_ttl: u32,
    data: Range<usize>,
}

impl Row {
    /// RFC 2181 §8.
    fn ttl(&self) -> u32 {
        if self.raw_ttl >= 1 << 31 { 0 } else { self.raw_ttl }
    }

    pub(crate) fn owner(&self, message: &[u8]) -> Option<Labels> {
        name_at(message, self.owner).map(|(name, _)| name)
    }

    /// The name that begins so many bytes into the data and takes the rest of it.
    fn name(&self, message: &[u8], offset: usize) -> Option<Labels> {
        name_at(message, self.data.start + offset).filter(|(_, end)| *end == self.data.end).map(|(name, _)| name)
    }
}

fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]))
}

fn u32_at(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(u16_at(message, at)?) << 16 | u32::from(u16_at(message, at + 2)?))
}

/// A name of at most 255 bytes behind at most 128 pointers, each of which leads back, and where it ends.
fn name_at(message: &[u8], at: usize) -> Option<(Labels, usize)> {
    rest_of_name(message, at, 0, 255)
}

/// The same behind so many pointers, with so many bytes left: both also bound how deep it calls itself.
fn rest_of_name(message: &[u8], at: usize, jumps: usize, left: usize) -> Option<(Labels, usize)> {
    match usize::from(*message.get(at)?) {
        0 => (left > 0).then(|| (Vec::new(), at + 1)),
        len @ 1..64 => {
            let label = message.get(at + 1..at + 1 + len)?.to_ascii_lowercase();
            let left = left.checked_sub(1 + len)?;
            let (mut labels, end) = rest_of_name(message, at + 1 + len, jumps, left)?;
            labels.insert(0, label);
            Some((labels, end))
        }
        192.. => {
            let target = usize::from(u16_at(message, at)? - 0xc000);
            let (labels, _) = Some(())
                .filter(|()| target < at && jumps < 128)
                .and_then(|()| rest_of_name(message, target, jumps + 1, left))?;
            Some((labels, at + 2))
        }
        _ => None,
    }
}

/// Where a name ends, wherever its pointer leads.
fn end_of_name(message: &[u8], at: usize) -> Option<usize> {
    match usize::from(*message.get(at)?) {
        0 => Some(at + 1),
        len @ 1..64 => end_of_name(message, at + 1 + len),
        192.. => Some(at + 2),
        _ => None,
    }
}

/// So many records from `at` on, and where they end.
pub(crate) fn rows(message: &[u8], mut at: usize, count: u16) -> Option<(Vec<Row>, usize)> {
    let mut rows = Vec::new();
    for _ in 0..count {
        let fixed = end_of_name(message, at)?;
        let len = usize::from(u16_at(message, fixed + 8)?);
        let data = fixed + 10..fixed + 10 + len;
        message.get(data.clone())?;
        let (kind, class, raw_ttl) =
            (u16_at(message, fixed)?, u16_at(message, fixed + 2)?, u32_at(message, fixed + 4)?);
        let end = data.end;
        rows.push(Row { owner: at, kind, class, raw_ttl, data });
        at = end;
    }
    Some((rows, at))
}

/// As a host's name is shown, if it is one.
fn host(name: &Labels) -> Option<Box<str>> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    let is_host = !name.is_empty() && name.iter().flatten().all(is_plain);
    let text = || String::from_utf8(name.join(&b'.')).expect("it is ASCII");
    is_host.then(|| text().into())
}

fn expected(message: &[u8], asked: &str, kind: u16) -> Option<Reply> {
    let asked: Labels = asked.split('.').map(|label| label.as_bytes().to_vec()).collect();
    let (id, flags) = (u16_at(message, 0)?, u16_at(message, 2)?);
    let (questions, answers) = (u16_at(message, 4)?, u16_at(message, 6)?);
    let (authorities, others) = (u16_at(message, 8)?, u16_at(message, 10)?);
    if id != ID || flags & 0x8000 == 0 || questions > 1 {
        return None;
    }
    let is_truncated = flags & 0x0200 != 0;
    let mut begin = None;
    if questions == 1 {
        let question = name_at(message, 12)
            .and_then(|(name, end)| Some((name, u16_at(message, end)?, u16_at(message, end + 2)?, end + 4)));
        match question {
            Some((name, of_kind, class, end)) if name == asked && of_kind == kind && class == 1 => begin = Some(end),
            None if is_truncated => {}
            _ => return None,
        }
    }
    match flags & 0xf {
        _ if is_truncated => Some(Reply::Truncated),
        rcode @ (0 | 3) => {
            let (answers, end) = rows(message, begin?, answers)?;
            let (authorities, end) = rows(message, end, authorities)?;
            let (others, _) = rows(message, end, others)?;
            let is_failure = others.iter().any(|row| row.kind == 41 && row.raw_ttl >> 24 != 0);
            let found = Found::of(message, &answers, &authorities, kind)?;
            Some(if is_failure { Reply::Failed } else { found.reply(&asked, rcode == 3) })
        }
        1 | 4 => Some(Reply::NoExtensions),
        _ => Some(Reply::Failed),
    }
}

/// What records say, with their owners and for how many seconds.
struct Found {
    data: Vec<(Labels, Data, u32)>,
    aliases: Vec<(Labels, Labels, u32)>,
    /// The zone that has nothing more.
    nothing: Option<(Labels, u32)>,
}

impl Found {
    fn of(message: &[u8], answers: &[Row], authorities: &[Row], kind: u16) -> Option<Self> {
        let mut found = Self { data: Vec::new(), aliases: Vec::new(), nothing: None };
        for row in answers.iter().filter(|row| row.class == 1) {
            if row.kind == kind {
                if let Some(data) = data(message, row)? {
                    found.data.push((row.owner(message)?, data, row.ttl()));
                }
            } else if row.kind == 5 {
                let alias = row.name(message, 0)?;
                found.aliases.push((row.owner(message)?, alias, row.ttl()));
            }
        }
        if let Some(row) = authorities.iter().find(|row| row.kind == 6) {
            let (_, second) = name_at(message, row.data.start)?;
            let (_, numbers) = name_at(message, second)?;
            let minimum = u32_at(message, numbers + 16).filter(|_| numbers + 20 == row.data.end)?;
            found.nothing = Some((row.owner(message)?, minimum.min(row.ttl()).min(3_600)));
        }
        Some(found)
    }

    /// RFC 1034 §3.6.2, RFC 2308 §2.2.
    fn reply(&self, asked: &Labels, is_name_unknown: bool) -> Reply {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let (mut name, mut ttl) = (asked, 86_400);
        for _ in 0..=MAX_ALIASES {
            let own: Vec<_> = self.data.iter().filter(|(owner, ..)| owner == name).take(MAX_RECORDS).collect();
            if let Some(least) = own.iter().map(|(.., ttl)| *ttl).min() {
                return Reply::Found(own.iter().map(|(_, data, _)| data.clone()).collect(), seconds(ttl.min(least)));
            }
            let Some((_, alias, its_ttl)) = self.aliases.iter().find(|(owner, ..)| owner == name) else { break };
            (name, ttl) = (alias, ttl.min(*its_ttl));
        }
        let is_end = self.nothing.as_ref().is_some_and(|(zone, _)| name.ends_with(zone));
        if is_name_unknown || name == asked || is_end {
            let ttl = self.nothing.as_ref().map(|(_, nothing)| seconds(ttl.min(*nothing)));
            return Reply::Missing { is_name_unknown, ttl };
        }
        host(name).map_or(Reply::Failed, |name| Reply::Alias(name, seconds(ttl)))
    }
}

/// What a record of the kind that was asked for says: nothing if it names what is no host, and it is no answer if it is cut off or too
/// long.
fn data(message: &[u8], row: &Row) -> Option<Option<Data>> {
    let bytes = &message[row.data.clone()];
    Some(match row.kind {
        1 => Some(Data::Ip(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into())),
        28 => Some(Data::Ip(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into())),
        33 => {
            let number = |at| u16_at(message, row.data.start + at);
            let (priority, weight, port) = (number(0)?, number(2)?, number(4)?);
            let target = host(&row.name(message, 6)?);
            target.map(|target| Data::Service(Service { priority, weight, port, target }))
        }
        _ => host(&row.name(message, 0)?).map(Data::Name),
    })
}

//! What messages are made of (RFC 1035 §4). Whatever the bytes say, reading one takes bounded work: names are followed for so many steps,
//! and no memory is taken for what a header only promises.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::hosts::is_name;

/// Bytes of a message's header.
pub(super) const HEADER_BYTES: usize = 12;

/// Bytes of a name, and of one of its labels (RFC 1035 §2.3.4).
const MAX_NAME_BYTES: usize = 255;
const MAX_LABEL_BYTES: usize = 63;

/// Pointers on the way to the end of one name: more than it can have labels.
const MAX_JUMPS: usize = 128;

/// Labels and pointers of all names that are read of one message: more than any that is of use has.
const MAX_STEPS: usize = 1 << 16;

/// The class of the Internet.
pub(super) const CLASS_IN: u16 = 1;

/// What a message begins with (RFC 1035 §4.1.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) id: u16,
    flags: u16,
    /// How many there are said to be of questions, answers, authorities and others.
    pub(super) counts: [u16; 4],
}

impl Header {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0, steps: 0 };
        let (id, flags) = (reader.u16()?, reader.u16()?);
        let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
        Some(Self { id, flags, counts })
    }

    pub(super) fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.flags & 0x0200 != 0
    }

    pub(super) fn rcode(&self) -> u8 {
        (self.flags & 0xf) as u8
    }
}

/// A name as it goes over the wire, in small letters and whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(Vec<u8>);

impl Name {
    /// Nothing if it may not be a host's name.
    pub(super) fn of(text: &str) -> Option<Self> {
        let text = Some(text).filter(|text| is_name(text))?;
        let mut wire = Vec::with_capacity(text.len() + 2);
        for label in text.strip_suffix('.').unwrap_or(text).split('.') {
            wire.push(u8::try_from(label.len()).ok()?);
            wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        wire.push(0);
        Some(Self(wire))
    }

    pub(super) fn wire(&self) -> &[u8] {
        &self.0
    }

    fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.0[..];
        core::iter::from_fn(move || {
            let (len, behind) = rest.split_first().filter(|(len, _)| **len > 0)?;
            let (label, behind) = behind.split_at_checked((*len).into())?;
            rest = behind;
            Some(label)
        })
    }

    /// Whether it is `domain`, or in it.
    pub(super) fn is_within(&self, domain: &Self) -> bool {
        let (own, of_domain) = (self.labels().count(), domain.labels().count());
        own >= of_domain && self.labels().skip(own - of_domain).eq(domain.labels())
    }

    /// As it is shown; nothing if it may not be a host's name.
    pub(super) fn text(&self) -> Option<Box<str>> {
        let mut text = String::new();
        for label in self.labels() {
            // A dot within a label is not one between two.
            let label = core::str::from_utf8(label).ok().filter(|label| !label.contains('.'))?;
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(label);
        }
        Some(text).filter(|text| is_name(text)).map(String::into_boxed_str)
    }
}

/// A record (RFC 1035 §4.1.3), whose owner and data are still to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    owner: usize,
    pub(super) kind: u16,
    pub(super) class: u16,
    /// In seconds.
    pub(super) ttl: u32,
    /// What it would be if there were no rule: extensions have other things in its place.
    raw_ttl: u32,
    data: usize,
    end: usize,
}

impl Record {
    /// RFC 6891 §6.1.3.
    pub(super) fn extended_rcode(&self) -> u8 {
        self.raw_ttl.to_be_bytes()[0]
    }
}

/// Goes through a message.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// How many more labels and pointers are followed.
    steps: usize,
}

impl<'a> Reader<'a> {
    /// Begins behind the header.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: HEADER_BYTES, steps: MAX_STEPS }
    }

    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.bytes.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(taken)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    /// RFC 1035 §4.1.4. Pointers lead back.
    pub(super) fn name(&mut self) -> Option<Name> {
        let (mut name, mut at, mut next, mut jumps) = (Vec::new(), self.at, None, 0);
        loop {
            self.steps = self.steps.checked_sub(1)?;
            let len = usize::from(*self.bytes.get(at)?);
            match len {
                0 => break,
                1..=MAX_LABEL_BYTES => {
                    let label = self.bytes.get(at..=at + len)?;
                    // Lengths are below all letters.
                    let is_kept = planted::is("dns_case_kept");
                    name.extend(label.iter().map(|byte| if is_kept { *byte } else { byte.to_ascii_lowercase() }));
                    if name.len() >= MAX_NAME_BYTES {
                        return None;
                    }
                    at += 1 + len;
                }
                0xc0.. => {
                    let target = (len & 0x3f) << 8 | usize::from(*self.bytes.get(at + 1)?);
                    next = next.or(Some(at + 2));
                    jumps += 1;
                    let is_ahead = target >= at && !planted::is("dns_points_ahead");
                    if is_ahead || jumps > MAX_JUMPS && !planted::is("dns_jumps_unbounded") {
                        return None;
                    }
                    at = target;
                }
                _ => return None,
            }
        }
        name.push(0);
        self.at = next.unwrap_or(at + 1);
        Some(Name(name))
    }

    /// Goes past a name, without following it.
    fn skip_name(&mut self) -> Option<()> {
        loop {
            let len = usize::from(*self.bytes.get(self.at)?);
            match len {
                0 => self.at += 1,
                1..=MAX_LABEL_BYTES => {
                    self.at += 1 + len;
                    continue;
                }
                0xc0.. => self.at += 2,
                _ => return None,
            }
            return Some(());
        }
    }

    /// Name, kind and class of a question.
    pub(super) fn question(&mut self) -> Option<(Name, u16, u16)> {
        Some((self.name()?, self.u16()?, self.u16()?))
    }

    pub(super) fn record(&mut self) -> Option<Record> {
        let owner = self.at;
        self.skip_name()?;
        let (kind, class, raw_ttl, len) = (self.u16()?, self.u16()?, self.u32()?, self.u16()?);
        let data = self.at;
        let end = data + usize::from(len);
        self.bytes.get(data..end)?;
        self.at = end;
        // RFC 2181 §8: one with the highest bit is none.
        let is_ttl = raw_ttl >> 31 == 0 || planted::is("dns_ttl_above");
        Some(Record { owner, kind, class, ttl: if is_ttl { raw_ttl } else { 0 }, raw_ttl, data, end })
    }

    pub(super) fn owner(&mut self, record: Record) -> Option<Name> {
        self.aside(record.owner, Self::name).map(|(name, _)| name)
    }

    /// Reads a record's data, to its end.
    pub(super) fn data<T>(&mut self, record: Record, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let is_whole = |end| end == record.end || planted::is("dns_data_beyond");
        self.aside(record.data, read).filter(|(_, end)| is_whole(*end)).map(|(value, _)| value)
    }

    /// Reads at another place; answers also where that ends.
    fn aside<T>(&mut self, place: usize, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<(T, usize)> {
        let back = core::mem::replace(&mut self.at, place);
        let value = read(self);
        let end = core::mem::replace(&mut self.at, back);
        Some((value?, end))
    }
}

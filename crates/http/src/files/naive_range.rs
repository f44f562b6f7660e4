//! Ranges beside a plain way to find them: the check behind the fuzz target and the property.

use std::ops::Range;

use super::range::{MAX_PARTS, Selection, select};

/// Reads the first line as the length of a file and the others as a `Range` field, and compares what is selected with what is right.
pub(crate) fn check(bytes: &[u8]) {
    let mut lines = bytes.splitn(2, |&byte| byte == b'\n');
    let len_bytes = lines.next().and_then(number).unwrap_or(100);
    let value = lines.next().unwrap_or_default();
    let selection = select(value, len_bytes);
    assert_eq!(selection, expected(value, len_bytes), "{} of {len_bytes}", value.escape_ascii());
    let Selection::Parts(parts) = selection else { return };
    assert!(!parts.is_empty() && parts.len() <= MAX_PARTS, "{parts:?}");
    for (at, part) in parts.iter().enumerate() {
        assert!(part.start < part.end && part.end <= len_bytes, "{part:?} of {len_bytes}");
        assert!(parts[..at].iter().all(|other| !touch(other, part)), "{parts:?}");
    }
}

fn expected(value: &[u8], len_bytes: u64) -> Selection {
    let unit_ends = 6.min(value.len());
    if len_bytes == 0 || !value[..unit_ends].eq_ignore_ascii_case(b"bytes=") {
        return Selection::All;
    }
    let specs = value[unit_ends..].split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|spec| !spec.is_empty());
    let Some(ranges) = specs.map(|spec| range(spec, len_bytes)).collect::<Option<Vec<_>>>() else {
        return Selection::All;
    };
    if !(1..=MAX_PARTS).contains(&ranges.len()) {
        return Selection::All;
    }
    let mut parts: Vec<_> = ranges.into_iter().filter(|range| range.start < range.end).collect();
    while let Some((one, other)) = first_that_touch(&parts) {
        let removed = parts.remove(other);
        parts[one] = parts[one].start.min(removed.start)..parts[one].end.max(removed.end);
    }
    if parts.is_empty() { Selection::Unsatisfiable } else { Selection::Parts(parts.into_iter().collect()) }
}

fn first_that_touch(parts: &[Range<u64>]) -> Option<(usize, usize)> {
    let mut pairs = (0..parts.len()).flat_map(|one| (one + 1..parts.len()).map(move |other| (one, other)));
    pairs.find(|&(one, other)| touch(&parts[one], &parts[other]))
}

fn touch(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start.max(other.start) <= one.end.min(other.end)
}

/// The bytes that are meant and there, perhaps none.
fn range(spec: &[u8], len_bytes: u64) -> Option<Range<u64>> {
    let mut ends = spec.split(|&byte| byte == b'-');
    let (first, last, None) = (ends.next()?, ends.next()?, ends.next()) else { return None };
    if first.is_empty() {
        return Some(len_bytes - number(last)?.min(len_bytes)..len_bytes);
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    let end = if last >= len_bytes { len_bytes } else { last + 1 };
    (first <= last).then(|| first.min(end)..end)
}

/// Digits, of which more than fit mean the largest number.
fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    Some(text.parse().unwrap_or(u64::MAX))
}

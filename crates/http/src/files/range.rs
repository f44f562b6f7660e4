//! Which parts of a file a request asks for (RFC 9110 §14).

use core::ops::Range;

use smallvec::SmallVec;

/// A request that names more parts gets the whole file: RFC 9110 §14.2 lets a server ignore what looks like an attack.
pub(super) const MAX_PARTS: usize = 16;

/// The parts of a file that are sent, in the order in which they were asked for.
pub(super) type Parts = SmallVec<[Range<u64>; 2]>;

/// What a field selects.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Selection {
    /// The whole file: the field says nothing that is to be heeded.
    All,
    /// At least one part. None is empty, none touches another.
    Parts(Parts),
    /// Nothing that there is.
    Unsatisfiable,
}

/// What the value of a `Range` field selects of `len_bytes`.
pub(super) fn select(value: &[u8], len_bytes: u64) -> Selection {
    // Nothing can be said about no bytes (RFC 9110 §14.4 has no words for it).
    if len_bytes == 0 {
        return Selection::All;
    }
    let Some(set) =
        value.split_at_checked(6).and_then(|(unit, set)| unit.eq_ignore_ascii_case(b"bytes=").then_some(set))
    else {
        return Selection::All;
    };
    let mut parts = Parts::new();
    let mut count = 0;
    for spec in set.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|spec| !spec.is_empty()) {
        count += 1;
        let Some(part) = part(spec, len_bytes) else { return Selection::All };
        if count > MAX_PARTS {
            return Selection::All;
        }
        if !part.is_empty() {
            insert(&mut parts, part);
        }
    }
    match (count, parts.is_empty()) {
        (0, _) => Selection::All,
        (_, true) => Selection::Unsatisfiable,
        _ => Selection::Parts(parts),
    }
}

/// The part that one element names, empty if it is not there; `None` if the element is none.
fn part(spec: &[u8], len_bytes: u64) -> Option<Range<u64>> {
    let dash = spec.iter().position(|&byte| byte == b'-')?;
    match (&spec[..dash], &spec[dash + 1..]) {
        (b"", suffix) if planted::is("range_suffix_wraps") => Some(len_bytes.wrapping_sub(number(suffix)?)..len_bytes),
        (b"", suffix) => Some(len_bytes.saturating_sub(number(suffix)?)..len_bytes),
        (first, b"") => Some(number(first)?.min(len_bytes)..len_bytes),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            let last = if planted::is("range_last_wraps") && last == u64::MAX { 0 } else { last };
            // The last byte is one of the part.
            (first <= last).then(|| first.min(len_bytes)..last.saturating_add(1).min(len_bytes))
        }
    }
}

/// Digits only. What is larger than any file may be any number that is.
fn number(digits: &[u8]) -> Option<u64> {
    let add = |sum: u64, digit: &u8| {
        digit.is_ascii_digit().then(|| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, add) }
}

/// Adds a part, and makes one of those that overlap or touch, in the place of the first of them: nobody gets a byte twice.
fn insert(parts: &mut Parts, mut part: Range<u64>) {
    let touches = |other: &Range<u64>, part: &Range<u64>| other.start <= part.end && part.start <= other.end;
    let mut place = parts.len();
    while let Some(at) = parts.iter().position(|other| touches(other, &part)) {
        let other = parts.remove(at);
        part = part.start.min(other.start)..part.end.max(other.end);
        place = place.min(at);
        if planted::is("range_meets_one") {
            break;
        }
    }
    parts.insert(place.min(parts.len()), part);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// By their first bytes, and those behind the last ones.
    fn parts(ranges: &[(u64, u64)]) -> Selection {
        Selection::Parts(ranges.iter().map(|&(start, end)| start..end).collect())
    }

    #[test]
    fn parts_are_selected() {
        for (value, ranges) in [
            ("bytes=0-0", &[(0, 1)][..]),
            ("bytes=0-", &[(0, 100)]),
            ("bytes=10-19", &[(10, 20)]),
            ("bytes=10-1000", &[(10, 100)]),
            ("bytes=10-99999999999999999999999", &[(10, 100)]),
            ("bytes=99-", &[(99, 100)]),
            ("bytes=-1", &[(99, 100)]),
            ("bytes=-1000", &[(0, 100)]),
            ("Bytes=5-6", &[(5, 7)]),
            ("bytes=0-0, -1", &[(0, 1), (99, 100)]),
            ("bytes= , 1-2 ,, 50-60,", &[(1, 3), (50, 61)]),
            ("bytes=50-60,1-2", &[(50, 61), (1, 3)]),
            ("bytes=1-5,3-8", &[(1, 9)]),
            ("bytes=1-5,6-8", &[(1, 9)]),
            ("bytes=10-20,0-2,15-30", &[(10, 31), (0, 3)]),
            ("bytes=0-2,10-20,1-15", &[(0, 21)]),
            ("bytes=0-,5-6,-3", &[(0, 100)]),
            ("bytes=1-2,200-300", &[(1, 3)]),
        ] {
            assert_eq!(select(value.as_bytes(), 100), parts(ranges), "{value}");
        }
    }

    #[test]
    fn what_is_no_range_is_ignored_and_what_is_not_there_is_unsatisfiable() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes= ,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=2-1",
            "bytes=1-2-3",
            "bytes=1-2,x",
            "bytes=+1-2",
            "bytes=1 - 2",
            "bytes =1-2",
            "items=1-2",
            "bytes=0x1-2",
            "bytes=--1",
            "bytes=1.0-2",
        ] {
            assert_eq!(select(value.as_bytes(), 100), Selection::All, "{value}");
        }
        for value in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=200-,300-400", "bytes=99999999999999999999999-"]
        {
            assert_eq!(select(value.as_bytes(), 100), Selection::Unsatisfiable, "{value}");
        }
        assert_eq!(select(b"bytes=0-", 0), Selection::All);
    }

    #[test]
    fn too_many_parts_are_ignored() {
        let set = |count: usize| {
            format!("bytes={}", (0..count).map(|at| format!("{}-{}", at * 4, at * 4 + 1)).collect::<Vec<_>>().join(","))
        };
        assert!(matches!(select(set(MAX_PARTS).as_bytes(), 1000), Selection::Parts(parts) if parts.len() == MAX_PARTS));
        assert_eq!(select(set(MAX_PARTS + 1).as_bytes(), 1000), Selection::All);
        assert_eq!(select(format!("bytes={}", "0-,".repeat(1000)).as_bytes(), 1000), Selection::All);
    }

    proptest! {
        /// Against a set of bytes that is kept one by one.
        #[test]
        fn parts_are_what_was_asked_for(len in 1_u64..50, specs in prop::collection::vec((0_u64..60, 0_u64..60, 0..3), 1..MAX_PARTS)) {
            let mut wanted = BTreeSet::new();
            let mut specs_text = Vec::new();
            for &(one, other, kind) in &specs {
                let (first, last) = (one.min(other), one.max(other));
                let (text, range) = match kind {
                    0 => (format!("{first}-{last}"), first..last + 1),
                    1 => (format!("{first}-"), first..len),
                    _ => (format!("-{first}"), len.saturating_sub(first)..len),
                };
                specs_text.push(text);
                wanted.extend(range.start..range.end.min(len));
            }
            let value = format!("bytes={}", specs_text.join(", "));
            let mut found = BTreeSet::new();
            match select(value.as_bytes(), len) {
                Selection::All => panic!("{value} is ignored"),
                Selection::Unsatisfiable => {}
                Selection::Parts(parts) => {
                    prop_assert!(!parts.is_empty());
                    for part in parts {
                        prop_assert!(part.start < part.end && part.end <= len);
                        for at in part {
                            prop_assert!(found.insert(at), "twice");
                        }
                    }
                }
            }
            prop_assert_eq!(found, wanted);
        }

        /// Any bytes: what is selected is there, once.
        #[test]
        fn any_bytes_select_what_is_there(value in prop::collection::vec(prop::sample::select(&b"bytes=0123456789-, \t\xffx"[..]), 0..60), len in any::<u64>()) {
            for value in [value.clone(), [b"bytes=", value.as_slice()].concat()] {
                if let Selection::Parts(mut parts) = select(&value, len) {
                    parts.sort_by_key(|part| part.start);
                    prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= len));
                    prop_assert!(parts.windows(2).all(|pair| pair[0].end < pair[1].start));
                }
            }
        }
    }
}

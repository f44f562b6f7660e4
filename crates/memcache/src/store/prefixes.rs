//! How often keys of some prefix were asked for, while somebody wants to know.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use crate::request::is_word;

/// What ends a prefix; a key without it has none.
const DELIMITER: u8 = b':';

/// So many prefixes are told apart. What has another one is left out, which is counted. One that no line can carry is none.
const PREFIXES: usize = 4096;

/// What was done with the items of one prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrefixCounters {
    /// Items that were asked for.
    pub gets: u64,
    /// Those of them that were there.
    pub hits: u64,
    /// Values that were to be stored.
    pub sets: u64,
    /// Items that were to be deleted.
    pub deletes: u64,
}

/// The counters of each prefix, if they are kept.
#[derive(Default)]
pub(super) struct Prefixes {
    is_on: bool,
    counters: BTreeMap<Box<[u8]>, PrefixCounters>,
    left_out: u64,
}

impl Prefixes {
    /// Begins or ends to count; what was counted stays.
    pub(super) fn set(&mut self, is_on: bool) {
        self.is_on = is_on;
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// How many operations had a prefix for which there was no room.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Forgets what was counted.
    pub(super) fn clear(&mut self) {
        self.counters.clear();
    }

    /// What was counted, in the order of prefixes.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], PrefixCounters)> {
        self.counters.iter().map(|(prefix, counters)| (&**prefix, *counters))
    }

    #[inline]
    pub(super) fn count(&mut self, key: &[u8], count: impl FnOnce(&mut PrefixCounters)) {
        if self.is_on {
            self.count_in(key, count);
        }
    }

    #[cold]
    fn count_in(&mut self, key: &[u8], count: impl FnOnce(&mut PrefixCounters)) {
        let Some(end) = memchr::memchr(DELIMITER, key) else { return };
        let prefix = &key[..end];
        if !is_word(prefix) {
            return;
        }
        if let Some(counters) = self.counters.get_mut(prefix) {
            count(counters);
        } else if self.counters.len() < PREFIXES {
            count(self.counters.entry(prefix.into()).or_default());
        } else {
            self.left_out += 1;
        }
    }
}

//! What lies in the store, for somebody who looks at it.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::slab::NO_ITEM;
use super::{Expiry, PrefixCounters, Store, item, lru};
use crate::request::{ListForm, is_word};

/// Sizes of items are told in steps of so many bytes.
const SIZE_STEP: u64 = 32;

/// How many items have which size, in steps of 32 bytes: header, key and value. By the upper bound of each step.
pub type Sizes = BTreeMap<u64, u64>;

impl Store {
    /// Shows the keys, lengths of values, and times of the items of a class, as [`classes`](Self::classes) numbers them, newest first
    /// in each segment, for as long as `show` answers true. Keys that no line can carry are left out, as memcached does. So many items are looked at
    /// at most, since others wait meanwhile; answers whether it was all that there are.
    pub fn dump(
        &self,
        class: usize,
        most: usize,
        now_s: u32,
        mut show: impl FnMut(&[u8], usize, Expiry) -> bool,
    ) -> bool {
        if class > self.slabs.classes() {
            return true;
        }
        let mut looks = 0;
        for segment in [lru::HOT, lru::WARM, lru::COLD] {
            let mut id = self.lru.newest(class, segment);
            while id != NO_ITEM {
                if looks == most {
                    return false;
                }
                looks += 1;
                let chunk = self.slabs.chunk(id);
                let value_bytes = item::VALUE_BYTES.of(chunk) as usize;
                let expiry = Expiry(item::EXPIRES.of(chunk));
                let key = item::key(chunk);
                let is_shown = is_word(key) && !item::has(chunk, item::KEY_BINARY) && !self.is_dead(id, now_s);
                if is_shown && !show(key, value_bytes, expiry) {
                    return false;
                }
                id = item::OLDER.of(chunk);
            }
        }
        true
    }

    /// Tells of the items of one page in these classes, of which the bits are set: of the page behind this place, or of the first one.
    /// Answers its place, if there is such a page. Items that move while somebody looks may be told twice or not at all.
    pub fn list(
        &self,
        behind: Option<usize>,
        (form, classes): (ListForm, u64),
        now_s: u32,
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        let (place, first) = self.slabs.page_from(behind.map_or(0, |place| place + 1))?;
        for id in self.slabs.neighbours(first) {
            let class = self.group(id) + 1;
            if !self.is_dead(id, now_s) && classes >> class & 1 == 1 {
                match form {
                    ListForm::Facts => put_facts(self.slabs.chunk(id), class, out),
                    ListForm::Requests => put_request(self.slabs.chunk(id), out),
                }
            }
        }
        Some(place)
    }

    /// Counts the items of one page by their sizes: of the one behind this place, or of the first one. Answers its place, if there is
    /// such a page.
    pub fn count_sizes(&self, behind: Option<usize>, sizes: &mut Sizes) -> Option<usize> {
        let (place, first) = self.slabs.page_from(behind.map_or(0, |place| place + 1))?;
        for id in self.slabs.neighbours(first) {
            let chunk = self.slabs.chunk(id);
            let bytes = item::HEADER_BYTES + item::key(chunk).len() + item::VALUE_BYTES.of(chunk) as usize;
            *sizes.entry((bytes as u64).next_multiple_of(SIZE_STEP)).or_default() += 1;
        }
        Some(place)
    }

    /// Begins or ends to count by prefixes of keys, which end before a colon. Without that it costs next to nothing.
    pub fn count_prefixes(&mut self, is_on: bool) {
        self.prefixes.set(is_on);
    }

    /// Whether it counts by prefixes.
    pub fn counts_prefixes(&self) -> bool {
        self.prefixes.is_on()
    }

    /// What was counted by prefixes.
    pub fn prefixes(&self) -> impl Iterator<Item = (&[u8], PrefixCounters)> {
        self.prefixes.iter()
    }
}

/// What is known of an item, as memcached tells it. Lines end as they do there.
fn put_facts(chunk: &[u8], class: usize, out: &mut Vec<u8>) {
    let key = item::key(chunk);
    out.extend_from_slice(b"key=");
    for byte in key {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(*byte),
            _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    let expires = match item::EXPIRES.of(chunk) {
        0 => -1,
        second => i64::from(second),
    };
    let (accessed, cas) = (item::ACCESSED.of(chunk), item::cas(chunk));
    let fetched = if item::has(chunk, item::FETCHED) { "yes" } else { "no" };
    let bytes = item::HEADER_BYTES + key.len() + item::VALUE_BYTES.of(chunk) as usize;
    let rest = format!(" exp={expires} la={accessed} cas={cas} fetch={fetched} cls={class} size={bytes}\n");
    out.extend_from_slice(rest.as_bytes());
}

/// The request that gets an item.
fn put_request(chunk: &[u8], out: &mut Vec<u8>) {
    let key = item::key(chunk);
    out.extend_from_slice(b"mg ");
    if is_word(key) && !item::has(chunk, item::KEY_BINARY) {
        out.extend_from_slice(key);
    } else {
        out.extend_from_slice(STANDARD.encode(key).as_bytes());
        out.extend_from_slice(b" b");
    }
    out.extend_from_slice(b"\r\n");
}

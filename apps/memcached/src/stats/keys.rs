//! What is stored: keys, sizes, and prefixes of keys.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;

use sunstar::executor::maybe_yield;
use sunstar::net::Error;
use sunstar_memcache::{Output, PrefixCounters, Sizes};

use super::put;
use crate::server::{Counters, Server};

/// The keys that a shard tells have so many bytes, with all that is told of them, at most. What is cut off by that is counted.
const TOLD_BYTES: usize = 256 << 10;

/// So many items of a class are looked at by a shard, also those that are not told, since nobody else is served meanwhile. What is cut off by that is
/// counted as well.
const LOOKED_AT: usize = 16_384;

/// How many items have which size.
pub(super) async fn sizes(server: &Server, output: &mut Output) -> Result<(), Error> {
    let count = |server: Rc<Server>| async move {
        let (mut sizes, mut place) = (Sizes::new(), None);
        loop {
            let next = server.store.borrow().count_sizes(place, &mut sizes);
            if next.is_none() {
                return sizes;
            }
            place = next;
            maybe_yield().await;
        }
    };
    let shards = server.peers().map(count).await.map_err(|_| Error::Stopped)?;
    let mut sum = Sizes::new();
    shards.into_iter().flatten().for_each(|(bytes, count)| *sum.entry(bytes).or_default() += count);
    sum.into_iter().for_each(|(bytes, count)| put(output, &bytes.to_string(), count));
    Ok(())
}

/// The items of a class, as many as are asked for or all with 0, as far as they are told.
pub(super) async fn dump(server: &Server, class: usize, limit: usize, output: &mut Output) -> Result<(), Error> {
    let most = if limit == 0 { usize::MAX } else { limit };
    let dump = move |server: Rc<Server>| async move {
        let (mut text, mut count) = (Vec::new(), 0);
        let (store, now_s) = (server.store.borrow(), server.now_s());
        let Some(class) = class.checked_sub(1) else { return text };
        let is_all = store.dump(class, LOOKED_AT, now_s, |key, value_bytes, expiry| {
            if count == most || text.len() >= TOLD_BYTES {
                return false;
            }
            count += 1;
            text.extend_from_slice(b"ITEM ");
            text.extend_from_slice(key);
            let second = expiry.second().unwrap_or(0);
            text.extend_from_slice(format!(" [{value_bytes} b; {second} s]\r\n").as_bytes());
            true
        });
        Counters::add(&server.counters.cachedumps_cut, usize::from(!is_all && count < most));
        text
    };
    let shards = server.peers().map(dump).await.map_err(|_| Error::Stopped)?;
    let lines = shards.iter().flat_map(|text| text.split_inclusive(|byte| *byte == b'\n'));
    lines.take(most).for_each(|line| output.put(line));
    Ok(())
}

/// What was done with items by prefixes of their keys.
pub(super) async fn prefixes(server: &Server, output: &mut Output) -> Result<(), Error> {
    let tell = |server: Rc<Server>| async move {
        let store = server.store.borrow();
        let prefixes = store.prefixes().map(|(prefix, counters)| (prefix.to_vec(), counters));
        prefixes.collect::<Vec<_>>()
    };
    let shards = server.peers().map(tell).await.map_err(|_| Error::Stopped)?;
    let mut sums: BTreeMap<Vec<u8>, PrefixCounters> = BTreeMap::new();
    for (prefix, counters) in shards.into_iter().flatten() {
        let sum = sums.entry(prefix).or_default();
        sum.gets += counters.gets;
        sum.hits += counters.hits;
        sum.sets += counters.sets;
        sum.deletes += counters.deletes;
    }
    for (prefix, PrefixCounters { gets, hits, sets, deletes }) in sums {
        let mut figures = String::new();
        let _ = write!(figures, " get {gets} hit {hits} set {sets} del {deletes}\r\n");
        output.put_all([b"PREFIX ", &prefix, figures.as_bytes()]);
    }
    Ok(())
}

//! Figures of each class: chunks of one size, and large values, which are the last.

use sunstar_memcache::{ClassFigures, Output};

use super::put;
use crate::figures::Snapshot;

/// What all shards have of each class.
fn classes(shards: &[Snapshot]) -> Vec<(usize, ClassFigures)> {
    let mut sums: Vec<(usize, ClassFigures)> = Vec::new();
    for (class, figures) in shards.iter().flat_map(|shard| &shard.classes) {
        match sums.iter_mut().find(|(other, _)| other == class) {
            Some((_, sum)) => add(sum, figures),
            None => sums.push((*class, *figures)),
        }
    }
    sums.sort_by_key(|(class, _)| *class);
    sums
}

fn add(sum: &mut ClassFigures, other: &ClassFigures) {
    sum.pages += other.pages;
    sum.used_chunks += other.used_chunks;
    sum.segments.iter_mut().zip(other.segments).for_each(|(sum, count)| *sum += count);
    sum.ages_s.iter_mut().zip(other.ages_s).for_each(|(sum, age)| *sum = age.max(*sum));
    sum.item_bytes += other.item_bytes;
    sum.moves.to_hot += other.moves.to_hot;
    sum.moves.to_warm += other.moves.to_warm;
    sum.moves.within_warm += other.moves.within_warm;
    sum.moves.to_cold += other.moves.to_cold;
    let (sum, other) = (&mut sum.counters, &other.counters);
    sum.hits.iter_mut().zip(other.hits).for_each(|(sum, count)| *sum += count);
    sum.sets += other.sets;
    sum.delete_hits += other.delete_hits;
    sum.incr_hits += other.incr_hits;
    sum.decr_hits += other.decr_hits;
    sum.cas_hits += other.cas_hits;
    sum.cas_badval += other.cas_badval;
    sum.touch_hits += other.touch_hits;
    sum.evictions += other.evictions;
    sum.evicted_nonzero += other.evicted_nonzero;
    sum.evicted_unfetched += other.evicted_unfetched;
    sum.evicted_age_s = sum.evicted_age_s.max(other.evicted_age_s);
    sum.reclaimed += other.reclaimed;
    sum.expired_unfetched += other.expired_unfetched;
    sum.swept += other.swept;
    sum.swept_dead += other.swept_dead;
    sum.no_memory += other.no_memory;
}

/// Classes have numbers from 1 on.
pub(super) fn items(shards: &[Snapshot], output: &mut Output) {
    for (class, figures) in classes(shards) {
        let class = class + 1;
        let ([hot, warm, cold], ages_s, counters) = (figures.segments, figures.ages_s, figures.counters);
        let moves = figures.moves;
        let mut figure = |name: &str, value: u64| put(output, &format!("items:{class}:{name}"), value);
        figure("number", (hot + warm + cold) as u64);
        figure("number_hot", hot as u64);
        figure("number_warm", warm as u64);
        figure("number_cold", cold as u64);
        figure("age_hot", ages_s[0].into());
        figure("age_warm", ages_s[1].into());
        figure("age", ages_s[2].into());
        figure("mem_requested", figures.item_bytes as u64);
        figure("evicted", counters.evictions);
        figure("evicted_nonzero", counters.evicted_nonzero);
        figure("evicted_time", counters.evicted_age_s.into());
        figure("outofmemory", counters.no_memory);
        figure("reclaimed", counters.reclaimed);
        figure("expired_unfetched", counters.expired_unfetched);
        figure("evicted_unfetched", counters.evicted_unfetched);
        figure("crawler_reclaimed", counters.swept_dead);
        figure("crawler_items_checked", counters.swept);
        figure("lrutail_reflocked", moves.to_hot);
        figure("moves_to_cold", moves.to_cold);
        figure("moves_to_warm", moves.to_warm);
        figure("moves_within_lru", moves.within_warm);
        let [_, hits_to_hot, hits_to_warm, hits_to_cold] = counters.hits;
        figure("hits_to_hot", hits_to_hot);
        figure("hits_to_warm", hits_to_warm);
        figure("hits_to_cold", hits_to_cold);
    }
}

pub(super) fn slabs(shards: &[Snapshot], output: &mut Output) {
    let classes = classes(shards);
    let mut active = 0;
    for (class, figures) in &classes {
        let (class, counters) = (class + 1, figures.counters);
        let mut figure = |name: &str, value: u64| put(output, &format!("{class}:{name}"), value);
        if figures.chunk_bytes > 0 {
            let chunks = figures.pages * figures.chunks_per_page;
            figure("chunk_size", figures.chunk_bytes as u64);
            figure("chunks_per_page", figures.chunks_per_page as u64);
            figure("total_pages", figures.pages as u64);
            figure("total_chunks", chunks as u64);
            figure("used_chunks", figures.used_chunks as u64);
            figure("free_chunks", (chunks - figures.used_chunks) as u64);
            active += 1;
        }
        figure("get_hits", counters.get_hits());
        figure("cmd_set", counters.sets);
        figure("delete_hits", counters.delete_hits);
        figure("incr_hits", counters.incr_hits);
        figure("decr_hits", counters.decr_hits);
        figure("cas_hits", counters.cas_hits);
        figure("cas_badval", counters.cas_badval);
        figure("touch_hits", counters.touch_hits);
    }
    put(output, "active_slabs", active);
    put(output, "total_malloced", shards.iter().map(|shard| shard.figures.memory_bytes).sum::<usize>());
}

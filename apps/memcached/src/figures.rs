//! What is counted and measured of a shard: one table, which `stats` and Prometheus both tell.

use std::time::Duration;

use sunstar::metrics::Figure;
use sunstar_memcache::{ClassFigures, StoreCounters, StoreFigures};

use crate::server::{Counters, Server, udp};

/// What a shard has and has done.
pub(crate) struct Snapshot {
    pub(crate) store: StoreCounters,
    pub(crate) figures: StoreFigures,
    pub(crate) counters: Counters,
    endpoint: sunstar_memcache::Counters,
    datagrams: udp::Counters,
    sources_forgotten: u64,
    prefixes_left_out: u64,
    is_crawled: bool,
    /// What the rows were when somebody said that `stats` should begin anew.
    before: Base,
    /// Of each class, if they were asked for.
    pub(crate) classes: Vec<(usize, ClassFigures)>,
}

/// What each row was at some time; zero of what does not only grow.
pub(crate) type Base = [u64; ROWS.len()];

impl Snapshot {
    pub(crate) fn of(server: &Server) -> Self {
        // It is borrowed for single operations only.
        let store = server.store.borrow();
        Self {
            store: *store.counters(),
            figures: store.figures(),
            counters: server.counters.clone(),
            endpoint: server.endpoint.counters(),
            datagrams: server.udp.counters.clone(),
            sources_forgotten: server.udp.sources.forgotten(),
            prefixes_left_out: store.prefixes_left_out(),
            is_crawled: server.is_crawled(),
            before: server.base.get(),
            classes: Vec::new(),
        }
    }

    /// With what is of each class.
    pub(crate) fn with_classes(server: &Server) -> Self {
        let classes = server.store.borrow().classes(server.now_s()).collect();
        Self { classes, ..Self::of(server) }
    }

    /// What the rows are to be told from now on.
    pub(crate) fn base(&self) -> Base {
        std::array::from_fn(|at| if ROWS[at].only_grows { (ROWS[at].of)(self) } else { 0 })
    }
}

/// A figure under both its names.
pub(crate) struct Row {
    /// As `stats` has it. It tells the sum of all shards.
    pub(crate) name: &'static str,
    of: fn(&Snapshot) -> u64,
    /// As Prometheus has it, of each shard.
    pub(crate) shown: Figure<Snapshot>,
    only_grows: bool,
    /// All shards are told as the largest of them, and not as their sum.
    is_largest: bool,
}

impl Row {
    const fn counter(name: &'static str, family: &'static str, help: &'static str, of: fn(&Snapshot) -> u64) -> Self {
        Self { name, of, shown: Figure::counter(family, help, of), only_grows: true, is_largest: false }
    }

    const fn gauge(name: &'static str, family: &'static str, help: &'static str, of: fn(&Snapshot) -> u64) -> Self {
        Self { name, of, shown: Figure::gauge(family, help, of), only_grows: false, is_largest: false }
    }

    /// Operations on items, by what they were.
    const fn operations(
        name: &'static str,
        labels: &'static [(&'static str, &'static str)],
        of: fn(&Snapshot) -> u64,
    ) -> Self {
        let row = Self::counter(name, OPERATIONS, "Operations on items, by command and result.", of);
        Self { shown: row.shown.labelled(labels), ..row }
    }

    const fn largest(self) -> Self {
        Self { is_largest: true, ..self }
    }

    /// What a shard has, or has done since `stats` began anew.
    pub(crate) fn told(at: usize, shard: &Snapshot) -> u64 {
        (ROWS[at].of)(shard).saturating_sub(shard.before[at])
    }

    /// The same of all shards.
    pub(crate) fn of_all(at: usize, shards: &[Snapshot]) -> u64 {
        let told = shards.iter().map(|shard| Self::told(at, shard));
        if ROWS[at].is_largest { told.max().unwrap_or(0) } else { told.sum() }
    }

    /// Where the row of this name is.
    pub(crate) fn at(name: &str) -> usize {
        ROWS.iter().position(|row| row.name == name).expect("only rows that are there are asked for")
    }
}

const OPERATIONS: &str = "sunstar_memcached_operations_total";

/// All of them. Those that memcached has too are under its names and count what it counts.
pub(crate) const ROWS: &[Row] = &[
    Row::gauge("curr_connections", "sunstar_memcached_connections_live", "Connections that are there.", |of| {
        of.counters.live.get()
    }),
    Row::counter(
        "total_connections",
        "sunstar_memcached_connections_total",
        "Connections that were served or are.",
        |of| of.counters.connections.get(),
    ),
    Row::gauge("accepting_conns", "sunstar_memcached_accepting", "Whether connections are accepted: 1 or 0.", |of| {
        u64::from(of.counters.held_since.get().is_none())
    })
    .largest(),
    Row::counter(
        "listen_disabled_num",
        "sunstar_memcached_held_back_total",
        "How often no connections were accepted for a time, since as many as may be were served.",
        |of| of.counters.held_back.get(),
    ),
    Row {
        shown: Figure::time("sunstar_memcached_held_back_seconds_total", "How long that was.", |of| {
            Duration::from_micros(of.counters.held_back_us.get())
        }),
        ..Row::counter("time_in_listen_disabled_us", "", "", |of| of.counters.held_back_us.get())
    },
    Row::operations("get_hits", &[("command", "get"), ("result", "hit")], |of| of.store.get_hits),
    Row::operations("get_misses", &[("command", "get"), ("result", "miss")], |of| of.store.get_misses),
    // Values without an end are counted as memcached counts them.
    Row::operations("cmd_set", &[("command", "set"), ("result", "any")], |of| of.store.sets + of.endpoint.bad_chunks),
    Row::operations("delete_hits", &[("command", "delete"), ("result", "hit")], |of| of.store.delete_hits),
    Row::operations("delete_misses", &[("command", "delete"), ("result", "miss")], |of| of.store.delete_misses),
    Row::operations("touch_hits", &[("command", "touch"), ("result", "hit")], |of| of.store.touch_hits),
    Row::operations("touch_misses", &[("command", "touch"), ("result", "miss")], |of| of.store.touch_misses),
    Row::operations("incr_hits", &[("command", "incr"), ("result", "hit")], |of| of.store.incr_hits),
    Row::operations("incr_misses", &[("command", "incr"), ("result", "miss")], |of| of.store.incr_misses),
    Row::operations("decr_hits", &[("command", "decr"), ("result", "hit")], |of| of.store.decr_hits),
    Row::operations("decr_misses", &[("command", "decr"), ("result", "miss")], |of| of.store.decr_misses),
    Row::operations("cas_hits", &[("command", "cas"), ("result", "hit")], |of| of.store.cas_hits),
    Row::operations("cas_misses", &[("command", "cas"), ("result", "miss")], |of| of.store.cas_misses),
    Row::operations("cas_badval", &[("command", "cas"), ("result", "changed")], |of| of.store.cas_badval),
    // Of the meta commands memcached counts `me` here, and the others as what they do.
    Row::operations("cmd_meta", &[("command", "me"), ("result", "any")], |of| of.store.meta_looks),
    Row::counter(
        "cmd_flush",
        "sunstar_memcached_flushes_total",
        "How often all items were flushed, on each shard.",
        |of| of.store.flushes,
    )
    .largest(),
    Row::counter(
        "get_expired",
        "sunstar_memcached_found_expired_total",
        "Items that were looked for and had expired.",
        |of| of.store.get_expired,
    ),
    Row::counter(
        "get_flushed",
        "sunstar_memcached_found_flushed_total",
        "Items that were looked for and had been flushed.",
        |of| of.store.get_flushed,
    ),
    Row::counter("total_items", "sunstar_memcached_items_total", "Items that were stored.", |of| of.store.stored_items),
    Row::counter("evictions", "sunstar_memcached_evictions_total", "Live items that had to go.", |of| {
        of.store.evictions
    }),
    Row::counter(
        "evicted_unfetched",
        "sunstar_memcached_evicted_unfetched_total",
        "Those of them that nobody had asked for.",
        |of| of.store.evicted_unfetched,
    ),
    Row::counter("reclaimed", "sunstar_memcached_reclaimed_total", "Dead items whose memory was taken back.", |of| {
        of.store.reclaimed
    }),
    Row::counter(
        "expired_unfetched",
        "sunstar_memcached_expired_unfetched_total",
        "Those of them that nobody had asked for.",
        |of| of.store.expired_unfetched,
    ),
    Row::counter(
        "slabs_moved",
        "sunstar_memcached_pages_moved_total",
        "Pages that a size of items has lost to another one.",
        |of| of.store.pages_moved,
    ),
    Row::counter(
        "store_no_memory",
        "sunstar_memcached_no_memory_total",
        "Values that were not stored since there was no memory.",
        |of| of.store.no_memory,
    ),
    Row::counter(
        "store_too_large",
        "sunstar_memcached_too_large_total",
        "Values that were not stored since their items would have been too large.",
        |of| of.store.too_large + of.counters.too_large.get(),
    ),
    Row::counter(
        "store_copied",
        "sunstar_memcached_copied_total",
        "Large values that were copied, since what they came in was not theirs alone.",
        |of| of.store.copied,
    ),
    Row::counter(
        "lrutail_reflocked",
        "sunstar_memcached_passed_over_total",
        "Large values that were to go and stayed, since answers held them.",
        |of| of.store.passed_over,
    ),
    Row::counter("bytes_read", "sunstar_memcached_read_bytes_total", "Bytes that clients have sent.", |of| {
        of.counters.bytes_read.get()
    }),
    Row::counter("bytes_written", "sunstar_memcached_written_bytes_total", "Bytes of answers.", |of| {
        of.counters.bytes_written.get()
    }),
    Row::gauge("limit_maxbytes", "sunstar_memcached_limit_bytes", "The most that the memory may be.", |of| {
        of.figures.limit_bytes as u64
    }),
    Row::gauge("bytes", "sunstar_memcached_item_bytes", "Header, key and value of all items.", |of| {
        of.figures.item_bytes as u64
    }),
    Row::gauge("curr_items", "sunstar_memcached_items", "Items that are kept.", |of| of.figures.items as u64),
    Row::gauge("hash_bytes", "sunstar_memcached_hash_bytes", "Memory of what finds items.", |of| {
        of.figures.hash_bytes as u64
    }),
    Row::gauge("memory_bytes", "sunstar_memcached_memory_bytes", "Memory of items and of what finds them.", |of| {
        of.figures.memory_bytes as u64
    }),
    Row::gauge(
        "held_bytes",
        "sunstar_memcached_held_bytes",
        "Of it, values that are gone and that answers hold.",
        |of| of.figures.held_bytes as u64,
    ),
    Row::gauge("pending_value_bytes", "sunstar_memcached_pending_value_bytes", "Memory of incomplete values.", |of| {
        of.endpoint.pending_value_bytes as u64
    }),
    Row::counter(
        "values_refused",
        "sunstar_memcached_values_refused_total",
        "Values that were not taken since as much as may be was under way.",
        |of| of.endpoint.values_refused,
    ),
    Row::counter(
        "values_given_up",
        "sunstar_memcached_values_given_up_total",
        "Incomplete values of which nothing came, and that gave way to others.",
        |of| of.endpoint.values_given_up,
    ),
    Row::counter(
        "slow_ended",
        "sunstar_memcached_slow_ended_total",
        "Connections that were ended since large values that their clients did not take used up memory.",
        |of| of.counters.slow_ended.get(),
    ),
    Row::counter(
        "cut_off",
        "sunstar_memcached_cut_off_total",
        "Connections that were ended since their clients did not take the last answers in time.",
        |of| of.counters.cut_off.get(),
    ),
    Row::counter(
        "heap_trims",
        "sunstar_memcached_heap_trims_total",
        "How often the heap was asked to give back what the store had freed and what came could not use.",
        |of| of.counters.heap_trims.get(),
    ),
    Row::counter(
        "lru_crawler_starts",
        "sunstar_memcached_crawls_total",
        "Looks for dead items that clients asked for.",
        |of| of.counters.crawls.get(),
    ),
    Row::gauge("lru_crawler_running", "sunstar_memcached_crawling", "Whether one is under way: 1 or 0.", |of| {
        u64::from(of.is_crawled)
    }),
    Row::counter(
        "prefixes_left_out",
        "sunstar_memcached_prefixes_left_out_total",
        "Operations that were not counted by the prefixes of their keys, since there were too many others.",
        |of| of.prefixes_left_out,
    ),
    Row::counter(
        "conns_left_out",
        "sunstar_memcached_conns_left_out_total",
        "Connections that were not told to who asked for all, since there were too many.",
        |of| of.counters.conns_left_out.get(),
    ),
    Row::counter(
        "cachedumps_cut",
        "sunstar_memcached_cachedumps_cut_total",
        "Dumps of a class that ended before all was told that was asked for, since it was too long.",
        |of| of.counters.cachedumps_cut.get(),
    ),
    Row::counter(
        "foreign_operations",
        "sunstar_memcached_foreign_operations_total",
        "Operations on items of other shards.",
        |of| of.counters.foreign.get(),
    ),
    Row::counter("foreign_batches", "sunstar_memcached_foreign_batches_total", "Messages that carried them.", |of| {
        of.counters.batches.get()
    }),
    Row::counter(
        "fetched_together",
        "sunstar_memcached_fetched_together_total",
        "Operations whose items were fetched from memory together with those of other connections.",
        |of| of.counters.fetched_together.get(),
    ),
    Row::counter("datagrams", "sunstar_memcached_datagrams_total", "Datagrams that were received.", |of| {
        of.datagrams.received.get()
    }),
    Row::counter(
        "datagrams_refused",
        "sunstar_memcached_datagrams_refused_total",
        "Datagrams without a frame header, or with a part of a request.",
        |of| of.datagrams.refused.get(),
    ),
    Row::counter(
        "datagrams_withheld",
        "sunstar_memcached_datagrams_withheld_total",
        "Answers that were not sent since they are longer than they may be.",
        |of| of.datagrams.withheld.get(),
    ),
    Row::counter(
        "datagrams_over_budget",
        "sunstar_memcached_datagrams_over_budget_total",
        "Answers that were not sent since too little was left of what their address may be answered.",
        |of| of.datagrams.over_budget.get(),
    ),
    Row::counter(
        "datagrams_not_done",
        "sunstar_memcached_datagrams_not_done_total",
        "Changes that were not done since it was not certain that they could be answered, and looks at all items.",
        |of| of.datagrams.not_done.get(),
    ),
    Row::counter(
        "datagrams_in_hook",
        "sunstar_memcached_datagrams_in_hook_total",
        "Datagrams that were answered by a packet filter, before the network has seen them.",
        |of| of.datagrams.answered_in_hook.get(),
    ),
    Row::counter(
        "udp_sources_forgotten",
        "sunstar_memcached_udp_sources_forgotten_total",
        "Addresses without connection that were forgotten before their budgets were full, since too many had left.",
        |of| of.sources_forgotten,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_two_names_of_its_own() {
        let mut names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len(), "no name stands there twice");
        let mut shown: Vec<String> = ROWS.iter().map(|row| format!("{:?}", row.shown)).collect();
        shown.sort_unstable();
        shown.dedup();
        assert_eq!(shown.len(), ROWS.len(), "nothing is shown twice");
    }
}

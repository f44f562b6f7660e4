//! What a shard's server shows to Prometheus.

use std::rc::Rc;

use sunstar::metrics::{Family, Figure, RegisterError, Registry};
use sunstar_memcache::{StoreCounters, StoreFigures};

use crate::server::{Counters, Server, udp};

const STORE: &[Figure<StoreCounters>] = &[
    requests(&[("command", "get"), ("result", "hit")], |counters| counters.get_hits),
    requests(&[("command", "get"), ("result", "miss")], |counters| counters.get_misses),
    requests(&[("command", "set"), ("result", "any")], |counters| counters.sets),
    requests(&[("command", "delete"), ("result", "hit")], |counters| counters.delete_hits),
    requests(&[("command", "delete"), ("result", "miss")], |counters| counters.delete_misses),
    requests(&[("command", "touch"), ("result", "hit")], |counters| counters.touch_hits),
    requests(&[("command", "touch"), ("result", "miss")], |counters| counters.touch_misses),
    requests(&[("command", "incr"), ("result", "hit")], |counters| counters.incr_hits),
    requests(&[("command", "incr"), ("result", "miss")], |counters| counters.incr_misses),
    requests(&[("command", "decr"), ("result", "hit")], |counters| counters.decr_hits),
    requests(&[("command", "decr"), ("result", "miss")], |counters| counters.decr_misses),
    Figure::counter("sunstar_memcached_evictions_total", "Live items that had to go.", |counters| counters.evictions),
    Figure::counter("sunstar_memcached_reclaimed_total", "Dead items whose memory was taken back.", |counters| {
        counters.reclaimed
    }),
    Figure::counter(
        "sunstar_memcached_no_memory_total",
        "Values that were not stored since there was no memory.",
        |counters| counters.no_memory,
    ),
    Figure::counter(
        "sunstar_memcached_too_large_total",
        "Values that were not stored since their items would have been too large.",
        |counters| counters.too_large,
    ),
    Figure::counter(
        "sunstar_memcached_passed_over_total",
        "Large values that were to go and stayed, since answers held them.",
        |counters| counters.passed_over,
    ),
];

const FIGURES: &[Figure<StoreFigures>] = &[
    Figure::gauge("sunstar_memcached_items", "Items that are kept.", |figures| figures.items as u64),
    Figure::gauge("sunstar_memcached_memory_bytes", "Memory of items and of what finds them.", |figures| {
        figures.memory_bytes as u64
    }),
    Figure::gauge("sunstar_memcached_held_bytes", "Of it, values that are gone and that answers hold.", |figures| {
        figures.held_bytes as u64
    }),
    Figure::gauge("sunstar_memcached_limit_bytes", "The most that the memory may be.", |figures| {
        figures.limit_bytes as u64
    }),
];

const CONNECTIONS: &[Figure<Counters>] = &[
    Figure::counter("sunstar_memcached_connections_total", "Connections that were served or are.", |counters| {
        counters.connections.get()
    }),
    Figure::gauge("sunstar_memcached_connections_live", "Connections that are there.", |counters| counters.live.get()),
    Figure::counter(
        "sunstar_memcached_held_back_total",
        "How often connections had to wait since as many as may be were served.",
        |counters| counters.held_back.get(),
    ),
    Figure::counter(
        "sunstar_memcached_slow_ended_total",
        "Connections that were ended since large values that their clients did not take used up memory.",
        |counters| counters.slow_ended.get(),
    ),
    Figure::counter(
        "sunstar_memcached_cut_off_total",
        "Connections that were ended since their clients did not take the last answers in time.",
        |counters| counters.cut_off.get(),
    ),
    Figure::counter("sunstar_memcached_foreign_operations_total", "Operations on items of other shards.", |counters| {
        counters.foreign.get()
    }),
    Figure::counter("sunstar_memcached_foreign_batches_total", "Messages that carried them.", |counters| {
        counters.batches.get()
    }),
    Figure::counter(
        "sunstar_memcached_fetched_together_total",
        "Operations whose items were fetched from memory together with those of other connections.",
        |counters| counters.fetched_together.get(),
    ),
];

const fn requests(
    labels: &'static [(&'static str, &'static str)],
    count: fn(&StoreCounters) -> u64,
) -> Figure<StoreCounters> {
    Figure::counter("sunstar_memcached_operations_total", "Operations on items, by command and result.", count)
        .labelled(labels)
}

const VALUES: &[Figure<sunstar_memcache::Counters>] = &[
    Figure::counter(
        "sunstar_memcached_values_refused_total",
        "Values that were not taken since as much as may be was under way.",
        |counters| counters.values_refused,
    ),
    Figure::counter(
        "sunstar_memcached_values_given_up_total",
        "Incomplete values of which nothing came, and that gave way to others.",
        |counters| counters.values_given_up,
    ),
    Figure::gauge("sunstar_memcached_pending_value_bytes", "Memory of incomplete values.", |counters| {
        counters.pending_value_bytes as u64
    }),
];

/// Shows a shard's figures for as long as its server is there.
///
/// # Errors
/// If somebody shows such already.
pub(crate) fn publish(server: &Rc<Server>) -> Result<(), RegisterError> {
    let families: Vec<Family> = [
        Figure::families(STORE),
        Figure::families(FIGURES),
        Figure::families(CONNECTIONS),
        Figure::families(VALUES),
        Figure::families(udp::FIGURES),
    ]
    .concat();
    let shown = Rc::downgrade(server);
    let registration = Registry::here().observe(&families, &[], move |readings| {
        let Some(server) = shown.upgrade() else { return };
        // It is borrowed for single operations only.
        let store = server.store.borrow();
        readings.show_figures(STORE, &[], store.counters());
        readings.show_figures(FIGURES, &[], &store.figures());
        readings.show_figures(CONNECTIONS, &[], &server.counters);
        readings.show_figures(VALUES, &[], &server.endpoint.counters());
        readings.show_figures(udp::FIGURES, &[], &server.udp);
    })?;
    let _ = server.published.set(registration);
    Ok(())
}

//! The answers to `stats`: sums over all shards, under the names that memcached has for them.

mod classes;
mod connections;
mod keys;
mod settings;

use std::fmt::Display;
use std::rc::Rc;

use sunstar::executor::timer::unix_time;
use sunstar::net::Error;
use sunstar::prelude::*;
use sunstar_memcache::{ClassFigures, Output, Refusal, Reply, StoreCounters, StoreFigures};

use crate::connection::VERSION;
use crate::server::Server;

/// Classes may have numbers up to this, as those of memcached.
const CLASSES: usize = 63;

/// What a shard has and has done.
#[derive(Default)]
struct Snapshot {
    store: StoreCounters,
    figures: StoreFigures,
    classes: Vec<(usize, ClassFigures)>,
    connections: u64,
    live: u64,
    held_back: u64,
    values_refused: u64,
    values_given_up: u64,
    too_large: u64,
    slow_ended: u64,
    cut_off: u64,
    bytes_read: u64,
    bytes_written: u64,
    foreign: u64,
    fetched_together: u64,
    batches: u64,
    datagrams: [u64; 6],
    sources_forgotten: u64,
}

impl Snapshot {
    fn of(server: &Server) -> Self {
        let store = server.store.borrow();
        let counters = &server.counters;
        Self {
            store: *store.counters(),
            figures: store.figures(),
            classes: store.classes(server.now_s()).collect(),
            connections: counters.connections.get(),
            live: counters.live.get(),
            held_back: counters.held_back.get(),
            values_refused: server.endpoint.counters().values_refused,
            values_given_up: server.endpoint.counters().values_given_up,
            too_large: counters.too_large.get(),
            slow_ended: counters.slow_ended.get(),
            cut_off: counters.cut_off.get(),
            bytes_read: counters.bytes_read.get(),
            bytes_written: counters.bytes_written.get(),
            foreign: counters.foreign.get(),
            fetched_together: counters.fetched_together.get(),
            batches: counters.batches.get(),
            datagrams: server.udp.counters.all(),
            sources_forgotten: server.udp.sources.forgotten(),
        }
    }
}

/// Answers one `stats` command.
pub(crate) async fn answer(server: &Server, parameters: &[u8], output: &mut Output) -> Result<(), Error> {
    let words: Vec<&[u8]> = parameters.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
    match words[..] {
        [] => general(server, &snapshots(server).await?, output),
        [b"settings"] => settings::put_all(server, output),
        [b"items"] => classes::items(&snapshots(server).await?, output),
        [b"slabs"] => classes::slabs(&snapshots(server).await?, output),
        [b"shards"] => shards(&snapshots(server).await?, output),
        [b"conns"] => connections::put_all(server, output).await?,
        [b"sizes"] => keys::sizes(server, output).await?,
        // They are counted when somebody asks.
        [b"sizes_enable" | b"sizes_disable"] => put(output, "sizes_status", "enabled"),
        [b"cachedump", class, limit] => match (number(class), number(limit)) {
            (Some(class), Some(_)) if !(1..=CLASSES).contains(&class) => return wrong(output, "Illegal slab id"),
            (Some(class), Some(limit)) => keys::dump(server, class, limit, output).await?,
            _ => return refused(output, Refusal::BadFormat),
        },
        [b"cachedump", ..] => return wrong(output, "bad command line"),
        [b"reset"] => {
            let reset = |server: Rc<Server>| async move { server.store.borrow_mut().reset_counters() };
            server.peers().invoke_on_all(reset).await.map_err(|_| Error::Stopped)?;
            output.put(b"RESET\r\n");
            return Ok(());
        }
        [b"detail", b"dump"] => keys::prefixes(server, output).await?,
        [b"detail", word @ (b"on" | b"off")] => {
            let is_on = word == b"on";
            let set = move |server: Rc<Server>| async move { server.store.borrow_mut().count_prefixes(is_on) };
            server.peers().invoke_on_all(set).await.map_err(|_| Error::Stopped)?;
            output.put_reply(&Reply::Ok);
            return Ok(());
        }
        [b"detail", ..] => return refused(output, Refusal::BadDetail),
        _ => return refused(output, Refusal::UnknownCommand),
    }
    output.put_reply(&Reply::End);
    Ok(())
}

fn refused(output: &mut Output, refusal: Refusal) -> Result<(), Error> {
    output.put_refusal(refusal);
    Ok(())
}

fn wrong(output: &mut Output, text: &'static str) -> Result<(), Error> {
    output.put_reply(&Reply::ClientError(Buffer::from(text)));
    Ok(())
}

fn number(word: &[u8]) -> Option<usize> {
    str::from_utf8(word).ok()?.parse().ok()
}

async fn snapshots(server: &Server) -> Result<Vec<Snapshot>, Error> {
    server.peers().map(|server| async move { Snapshot::of(&server) }).await.map_err(|_| Error::Stopped)
}

fn put(output: &mut Output, name: &str, value: impl Display) {
    output.put_figure(name.as_bytes(), value.to_string().as_bytes());
}

fn general(server: &Server, shards: &[Snapshot], output: &mut Output) {
    let sum = |of: fn(&Snapshot) -> u64| shards.iter().map(of).sum::<u64>();
    put(output, "pid", std::process::id());
    put(output, "uptime", server.settings.clock.uptime_s());
    put(output, "time", unix_time().as_secs());
    output.put_figure(b"version", VERSION);
    put(output, "pointer_size", usize::BITS);
    put(output, "max_connections", server.settings.bounds.connections);
    put(output, "curr_connections", sum(|shard| shard.live));
    put(output, "total_connections", sum(|shard| shard.connections));
    put(output, "accepting_conns", 1);
    put(output, "listen_disabled_num", sum(|shard| shard.held_back));
    put(output, "threads", shards.len());
    for (name, of) in STORE {
        put(output, name, shards.iter().map(|shard| of(&shard.store)).sum::<u64>());
    }
    put(output, "store_too_large", sum(|shard| shard.store.too_large + shard.too_large));
    put(output, "bytes_read", sum(|shard| shard.bytes_read));
    put(output, "bytes_written", sum(|shard| shard.bytes_written));
    put(output, "limit_maxbytes", sum(|shard| shard.figures.limit_bytes as u64));
    put(output, "bytes", sum(|shard| shard.figures.item_bytes as u64));
    put(output, "curr_items", sum(|shard| shard.figures.items as u64));
    put(output, "hash_bytes", sum(|shard| shard.figures.hash_bytes as u64));
    put(output, "memory_bytes", sum(|shard| shard.figures.memory_bytes as u64));
    put(output, "held_bytes", sum(|shard| shard.figures.held_bytes as u64));
    put(output, "values_refused", sum(|shard| shard.values_refused));
    put(output, "values_given_up", sum(|shard| shard.values_given_up));
    put(output, "slow_ended", sum(|shard| shard.slow_ended));
    put(output, "cut_off", sum(|shard| shard.cut_off));
    put(output, "foreign_operations", sum(|shard| shard.foreign));
    put(output, "foreign_batches", sum(|shard| shard.batches));
    put(output, "fetched_together", sum(|shard| shard.fetched_together));
    for (place, name) in DATAGRAMS.iter().enumerate() {
        put(output, name, shards.iter().map(|shard| shard.datagrams[place]).sum::<u64>());
    }
    put(output, "udp_sources_forgotten", sum(|shard| shard.sources_forgotten));
}

/// What is counted of datagrams.
const DATAGRAMS: [&str; 6] = [
    "datagrams",
    "datagrams_refused",
    "datagrams_withheld",
    "datagrams_over_budget",
    "datagrams_not_done",
    "datagrams_in_hook",
];

/// What stores count, under memcached's names.
type Named = (&'static str, fn(&StoreCounters) -> u64);

const STORE: &[Named] = &[
    ("cmd_get", |counters| counters.get_hits + counters.get_misses),
    ("cmd_set", |counters| counters.sets),
    ("cmd_flush", |counters| counters.flushes),
    ("cmd_touch", |counters| counters.touch_hits + counters.touch_misses),
    ("get_hits", |counters| counters.get_hits),
    ("get_misses", |counters| counters.get_misses),
    ("get_expired", |counters| counters.get_expired),
    ("get_flushed", |counters| counters.get_flushed),
    ("delete_misses", |counters| counters.delete_misses),
    ("delete_hits", |counters| counters.delete_hits),
    ("incr_misses", |counters| counters.incr_misses),
    ("incr_hits", |counters| counters.incr_hits),
    ("decr_misses", |counters| counters.decr_misses),
    ("decr_hits", |counters| counters.decr_hits),
    ("cas_misses", |counters| counters.cas_misses),
    ("cas_hits", |counters| counters.cas_hits),
    ("cas_badval", |counters| counters.cas_badval),
    ("touch_hits", |counters| counters.touch_hits),
    ("touch_misses", |counters| counters.touch_misses),
    ("store_no_memory", |counters| counters.no_memory),
    ("store_copied", |counters| counters.copied),
    ("lrutail_reflocked", |counters| counters.passed_over),
    ("total_items", |counters| counters.stored_items),
    ("evictions", |counters| counters.evictions),
    ("evicted_unfetched", |counters| counters.evicted_unfetched),
    ("reclaimed", |counters| counters.reclaimed),
    ("expired_unfetched", |counters| counters.expired_unfetched),
    ("slabs_moved", |counters| counters.pages_moved),
];

fn shards(shards: &[Snapshot], output: &mut Output) {
    for (number, shard) in shards.iter().enumerate() {
        put(output, &format!("shard:{number}:curr_items"), shard.figures.items);
        put(output, &format!("shard:{number}:memory_bytes"), shard.figures.memory_bytes);
        put(output, &format!("shard:{number}:limit_maxbytes"), shard.figures.limit_bytes);
        put(output, &format!("shard:{number}:evictions"), shard.store.evictions);
        put(output, &format!("shard:{number}:curr_connections"), shard.live);
        put(output, &format!("shard:{number}:foreign_operations"), shard.foreign);
    }
}

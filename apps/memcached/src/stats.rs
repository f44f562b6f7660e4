//! The answers to `stats`: sums over all shards, under the names that memcached has for them.

use std::fmt::Display;
use std::rc::Rc;

use sunstar::net::Error;
use sunstar::prelude::*;
use sunstar_memcache::{ClassFigures, Output, Refusal, Reply, StoreCounters, StoreFigures};

use crate::connection::VERSION;
use crate::server::Server;

/// What a shard has and has done.
#[derive(Default)]
struct Snapshot {
    store: StoreCounters,
    figures: StoreFigures,
    classes: Vec<(usize, ClassFigures, [usize; 3])>,
    connections: u64,
    live: u64,
    held_back: u64,
    values_refused: u64,
    bytes_read: u64,
    bytes_written: u64,
    foreign: u64,
    batches: u64,
    datagrams: [u64; 4],
}

impl Snapshot {
    fn of(server: &Server) -> Self {
        let store = server.store.borrow();
        let counters = &server.counters;
        Self {
            store: *store.counters(),
            figures: store.figures(),
            classes: store.classes().collect(),
            connections: counters.connections.get(),
            live: counters.live.get(),
            held_back: counters.held_back.get(),
            values_refused: server.endpoint.counters().values_refused,
            bytes_read: counters.bytes_read.get(),
            bytes_written: counters.bytes_written.get(),
            foreign: counters.foreign.get(),
            batches: counters.batches.get(),
            datagrams: server.udp.counters.all(),
        }
    }
}

/// Answers one `stats` command.
pub(crate) async fn answer(server: &Server, parameters: &[u8], output: &mut Output) -> Result<(), Error> {
    let words: Vec<&[u8]> = parameters.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
    match words[..] {
        [] => general(server, &snapshots(server).await?, output),
        [b"settings"] => settings(server, output),
        [b"items"] => items(&snapshots(server).await?, output),
        [b"slabs"] => slabs(&snapshots(server).await?, output),
        [b"shards"] => shards(&snapshots(server).await?, output),
        [b"sizes"] => put(output, "sizes_status", "disabled"),
        [b"reset"] => {
            let reset = |server: Rc<Server>| async move { server.store.borrow_mut().reset_counters() };
            server.peers().invoke_on_all(reset).await.map_err(|_| Error::Stopped)?;
            output.put(b"RESET\r\n");
            return Ok(());
        }
        // Figures by prefixes of keys are not kept.
        [b"detail", b"dump"] => {}
        [b"detail", b"on" | b"off"] => {
            output.put_reply(&Reply::Ok);
            return Ok(());
        }
        [b"detail", ..] => {
            output.put_refusal(Refusal::BadDetail);
            return Ok(());
        }
        _ => {
            output.put_refusal(Refusal::UnknownCommand);
            return Ok(());
        }
    }
    output.put_reply(&Reply::End);
    Ok(())
}

async fn snapshots(server: &Server) -> Result<Vec<Snapshot>, Error> {
    server.peers().map(|server| async move { Snapshot::of(&server) }).await.map_err(|_| Error::Stopped)
}

fn put(output: &mut Output, name: &str, value: impl Display) {
    output.put_figure(name.as_bytes(), value.to_string().as_bytes());
}

fn general(server: &Server, shards: &[Snapshot], output: &mut Output) {
    let sum = |of: fn(&Snapshot) -> u64| shards.iter().map(of).sum::<u64>();
    let now_s = server.now_s();
    put(output, "pid", std::process::id());
    put(output, "uptime", now_s.saturating_sub(server.settings.started_s));
    put(output, "time", now_s);
    output.put_figure(b"version", VERSION);
    put(output, "pointer_size", usize::BITS);
    put(output, "max_connections", server.settings.bounds.connections);
    put(output, "curr_connections", sum(|shard| shard.live));
    put(output, "total_connections", sum(|shard| shard.connections));
    put(output, "listen_disabled_num", sum(|shard| shard.held_back));
    put(output, "threads", shards.len());
    for (name, of) in STORE {
        put(output, name, shards.iter().map(|shard| of(&shard.store)).sum::<u64>());
    }
    put(output, "bytes_read", sum(|shard| shard.bytes_read));
    put(output, "bytes_written", sum(|shard| shard.bytes_written));
    put(output, "limit_maxbytes", sum(|shard| shard.figures.limit_bytes as u64));
    put(output, "bytes", sum(|shard| shard.figures.item_bytes as u64));
    put(output, "curr_items", sum(|shard| shard.figures.items as u64));
    put(output, "hash_bytes", sum(|shard| shard.figures.hash_bytes as u64));
    put(output, "memory_bytes", sum(|shard| shard.figures.memory_bytes as u64));
    put(output, "values_refused", sum(|shard| shard.values_refused));
    put(output, "foreign_operations", sum(|shard| shard.foreign));
    put(output, "foreign_batches", sum(|shard| shard.batches));
    for (place, name) in DATAGRAMS.iter().enumerate() {
        put(output, name, shards.iter().map(|shard| shard.datagrams[place]).sum::<u64>());
    }
}

/// What is counted of datagrams.
const DATAGRAMS: [&str; 4] = ["datagrams", "datagrams_refused", "datagrams_withheld", "datagrams_in_hook"];

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
    ("total_items", |counters| counters.stored_items),
    ("evictions", |counters| counters.evictions),
    ("evicted_unfetched", |counters| counters.evicted_unfetched),
    ("reclaimed", |counters| counters.reclaimed),
    ("expired_unfetched", |counters| counters.expired_unfetched),
    ("slabs_moved", |counters| counters.pages_moved),
];

fn settings(server: &Server, output: &mut Output) {
    let bounds = server.settings.bounds;
    put(output, "maxbytes", bounds.memory_bytes);
    put(output, "maxconns", bounds.connections);
    put(output, "tcpport", server.settings.port.unwrap_or(0));
    put(output, "udpport", server.settings.udp_port);
    put(output, "evictions", "on");
    put(output, "num_threads", shard_count());
    put(output, "item_size_max", bounds.item_bytes);
    put(output, "cas_enabled", "yes");
    put(output, "lru_segmented", "yes");
    put(output, "binding_protocol", "ascii");
}

/// What all shards have of each size.
fn classes(shards: &[Snapshot]) -> Vec<(usize, ClassFigures, [usize; 3])> {
    let mut sums: Vec<(usize, ClassFigures, [usize; 3])> = Vec::new();
    for (class, figures, segments) in shards.iter().flat_map(|shard| &shard.classes) {
        let Some((_, sum, counts)) = sums.iter_mut().find(|(other, ..)| other == class) else {
            sums.push((*class, *figures, *segments));
            continue;
        };
        sum.pages += figures.pages;
        sum.used_chunks += figures.used_chunks;
        counts.iter_mut().zip(segments).for_each(|(sum, count)| *sum += count);
    }
    sums.sort_by_key(|(class, ..)| *class);
    sums
}

/// Classes have numbers from 1 on.
fn items(shards: &[Snapshot], output: &mut Output) {
    for (class, _, [hot, warm, cold]) in classes(shards) {
        let class = class + 1;
        put(output, &format!("items:{class}:number"), hot + warm + cold);
        put(output, &format!("items:{class}:number_hot"), hot);
        put(output, &format!("items:{class}:number_warm"), warm);
        put(output, &format!("items:{class}:number_cold"), cold);
    }
}

fn slabs(shards: &[Snapshot], output: &mut Output) {
    let classes = classes(shards);
    for (class, figures, _) in &classes {
        let class = class + 1;
        put(output, &format!("{class}:chunk_size"), figures.chunk_bytes);
        put(output, &format!("{class}:total_pages"), figures.pages);
        put(output, &format!("{class}:used_chunks"), figures.used_chunks);
    }
    put(output, "active_slabs", classes.len());
    put(output, "total_malloced", shards.iter().map(|shard| shard.figures.memory_bytes).sum::<usize>());
}

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

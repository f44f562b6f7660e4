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
use sunstar_memcache::{Output, Refusal, Reply};

use crate::connection::VERSION;
use crate::figures::{ROWS, Row, Snapshot};
use crate::server::Server;

/// Classes may have numbers up to this, as those of memcached.
const CLASSES: usize = 63;

/// Answers one `stats` command.
pub(crate) async fn answer(server: &Server, parameters: &[u8], output: &mut Output) -> Result<(), Error> {
    let words: Vec<&[u8]> = parameters.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
    match words[..] {
        [] => general(server, &snapshots(server).await?, output),
        [b"settings"] => settings::put_all(server, output),
        [b"items"] => classes::items(&with_classes(server).await?, output),
        [b"slabs"] => classes::slabs(&with_classes(server).await?, output),
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
            let reset = |server: Rc<Server>| async move { server.reset_stats() };
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

async fn with_classes(server: &Server) -> Result<Vec<Snapshot>, Error> {
    server.peers().map(|server| async move { Snapshot::with_classes(&server) }).await.map_err(|_| Error::Stopped)
}

fn put(output: &mut Output, name: &str, value: impl Display) {
    output.put_figure(name.as_bytes(), value.to_string().as_bytes());
}

fn general(server: &Server, shards: &[Snapshot], output: &mut Output) {
    put(output, "pid", std::process::id());
    put(output, "uptime", server.settings.clock.uptime_s());
    put(output, "time", unix_time().as_secs());
    output.put_figure(b"version", VERSION);
    put(output, "pointer_size", usize::BITS);
    processor_time(output);
    put(output, "max_connections", server.settings.bounds.connections);
    put(output, "threads", shards.len());
    for (at, row) in ROWS.iter().enumerate() {
        put(output, row.name, Row::of_all(at, shards));
    }
    for (name, parts) in SUMS {
        put(output, name, parts.iter().map(|part| Row::of_all(Row::at(part), shards)).sum::<u64>());
    }
    let buckets: u32 = shards.iter().map(|shard| shard.figures.buckets).sum();
    put(output, "hash_power_level", buckets.max(1).ilog2());
    // It grows by a bucket at a time.
    put(output, "hash_is_expanding", 0);
    // Whom there is no room for waits, and nobody has to say who he is.
    for name in ["rejected_connections", "auth_cmds", "auth_errors"] {
        put(output, name, 0);
    }
}

/// Figures that are sums of others.
const SUMS: &[(&str, &[&str])] = &[
    ("cmd_get", &["get_hits", "get_misses"]),
    ("cmd_touch", &["touch_hits", "touch_misses"]),
    // There is nothing of a connection that is gone.
    ("connection_structures", &["curr_connections"]),
];

/// How long processors have worked for the process, as exactly as the kernel tells, if it does.
fn processor_time(output: &mut Output) {
    let told = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in brackets, may have spaces.
    let Some((_, behind)) = told.rsplit_once(") ") else { return };
    let ticks: Vec<u64> = behind.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
    let [user, system] = ticks[..] else { return };
    let second = rustix::param::clock_ticks_per_second();
    for (name, ticks) in [("rusage_user", user), ("rusage_system", system)] {
        put(output, name, format_args!("{}.{:06}", ticks / second, ticks % second * 1_000_000 / second));
    }
}

/// What is told of single shards.
const OF_SHARDS: &[&str] = &[
    "curr_items",
    "bytes",
    "memory_bytes",
    "limit_maxbytes",
    "get_hits",
    "get_misses",
    "cmd_set",
    "evictions",
    "curr_connections",
    "accepting_conns",
    "foreign_operations",
];

fn shards(shards: &[Snapshot], output: &mut Output) {
    for (number, shard) in shards.iter().enumerate() {
        for name in OF_SHARDS {
            put(output, &format!("shard:{number}:{name}"), Row::told(Row::at(name), shard));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_rows_is_there() {
        let named = SUMS.iter().flat_map(|(_, parts)| parts.iter());
        named.chain(OF_SHARDS).for_each(|name| assert_eq!(ROWS[Row::at(name)].name, *name));
    }
}

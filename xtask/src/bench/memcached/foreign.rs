//! What it costs that an item is on another shard: in instructions, and in processor time of both shards.

use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Options;
use super::items::{Client, Where};
use super::server::{Server, Setup, Who};
use crate::bench::noise::{NOISY_CORES, Watch};
use crate::bench::statistics::median;
use crate::command::{exists, program, read, target_dir};

const SETUP: Setup = Setup { memory_mib: 64, polls: false, multiget: 1, shards: 2 };
/// How many times as much processor time as a local one a foreign operation may take.
const BAR: f64 = 1.3;
/// Times that all connections ask while instructions are counted: the difference of two runs leaves what happens once out.
const COUNTED: [usize; 2] = [40, 240];
/// Times that all connections ask between looks at the clock.
const BATCH: usize = 20;

/// Measures both, and answers the table.
///
/// # Errors
/// If the server or the client fails. That instructions can't be counted is in the text.
pub(super) fn contest(options: &Options) -> Result<String> {
    let mut text = "\n## foreign (two shards, 32 connections, 16 gets under way on each; of items on the connection's shard, and on the \
         other)\n\n"
        .to_owned();
    let mut noise = Vec::new();
    let mut nanos = [Vec::new(), Vec::new()];
    for round in 0..options.rounds as usize {
        let watch = Watch::start();
        let server = Server::start(Who::Epoll, SETUP)?;
        let mut client = Client::new(&server)?;
        for turn in 0..2 {
            let place = [Where::Here, Where::There][(round + turn) % 2];
            let nanos_each = cpu_nanos(&server, &mut client, place, options.seconds)?;
            println!("foreign          {place:?} {nanos_each:.0} ns");
            nanos[usize::from(place == Where::There)].push(nanos_each);
        }
        noise.push(watch.cores_used_by_others());
    }
    let ratio = median(nanos[0].iter().zip(&nanos[1]).map(|(here, there)| there / here).collect());
    let ratio = ratio.context("there was a round")?;
    let counted = [Where::Here, Where::There].map(|place| {
        instructions(place).inspect_err(|error| println!("foreign          instructions are not counted: {error:#}"))
    });
    let noisy = noise.iter().filter(|&&cores| cores > NOISY_CORES).count();
    writeln!(text, "Noisy rounds: {noisy} of {}.\n", noise.len())?;
    text.push_str("| items | ns of processor time for a get, both shards and the kernel | instructions of the program |\n|---|---|---|\n");
    let [here_ns, there_ns] = nanos.map(|nanos| median(nanos).unwrap_or(f64::NAN));
    let [here, there] = counted.map(|count| count.unwrap_or(f64::NAN));
    let rows = [("here", here_ns, here), ("on the other shard", there_ns, there)];
    for (place, nanos, count) in rows.into_iter().chain([("difference", there_ns - here_ns, there - here)]) {
        let count = if count.is_nan() { "not counted".to_owned() } else { format!("{count:.0}") };
        writeln!(text, "| {place} | {nanos:.0} | {count} |")?;
    }
    let met = if ratio <= BAR { "yes" } else { "**no**" };
    writeln!(text, "\n| bar | demanded | median of the rounds' ratios | met |\n|---|---|---|---|")?;
    writeln!(text, "| processor time, foreign to local | ≤ {BAR} | {ratio:.3} | {met} |")?;
    Ok(text)
}

fn cpu_nanos(server: &Server, client: &mut Client, place: Where, seconds: f64) -> Result<f64> {
    client.run(place, BATCH)?;
    let before = server.cpu_seconds()?;
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut operations = 0;
    while Instant::now() < end {
        operations += client.run(place, BATCH)?;
    }
    Ok((server.cpu_seconds()? - before) * 1e9 / operations as f64)
}

/// Instructions per get.
fn instructions(place: Where) -> Result<f64> {
    ensure!(exists("valgrind"), "valgrind is not installed");
    let [few, many] = COUNTED.map(|times| counted(place, times));
    let ((few, few_operations), (many, many_operations)) = (few?, many?);
    Ok((many - few) / (many_operations - few_operations) as f64)
}

/// All instructions of a server that lives for so many operations, and how many those are.
fn counted(place: Where, times: usize) -> Result<(f64, usize)> {
    let path = target_dir("bench").join("memcached.callgrind");
    let file = format!("--callgrind-out-file={}", path.display());
    let by = ["valgrind", "-q", "--tool=callgrind", &file].map(str::to_owned);
    let server = Server::start_by(Who::Epoll, SETUP, &by)?;
    let mut client = Client::new(&server)?;
    let operations = client.run(place, times)?;
    // What was counted is in the file only when it ends in order.
    read(&mut program("kill", &["-TERM", &server.pid().to_string()]))?;
    server.wait_for_end()?;
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let total = text.lines().filter_map(|line| line.split_once("totals: ").or_else(|| line.split_once("summary: ")));
    let total = total.filter_map(|(_, number)| number.trim().parse::<f64>().ok()).next_back();
    Ok((total.context("callgrind tells no total")?, operations))
}

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
/// How items are asked for.
struct Manner {
    name: &'static str,
    ask: fn(&mut Client, Where, usize) -> Result<usize>,
    /// How often between looks at the clock.
    times: usize,
    /// How often while instructions are counted: the difference of two runs leaves what happens once out.
    counted: [usize; 2],
}

/// The first one is what the bar is about. The other is what it costs to wake another processor, for one item.
const MANNERS: [Manner; 2] = [
    Manner { name: "pipelined", ask: Client::run, times: 20, counted: [40, 240] },
    Manner { name: "alone", ask: Client::run_alone, times: 500, counted: [500, 2_500] },
];

/// What a get costs.
#[derive(Clone, Copy)]
struct Cost {
    /// Processor time of both shards and of the kernel for them.
    nanos: f64,
    /// How often a shard slept.
    sleeps: f64,
}

/// Measures both, and answers the table.
///
/// # Errors
/// If the server or the client fails. That instructions can't be counted is in the text.
pub(super) fn contest(options: &Options) -> Result<String> {
    let mut text = "\n## foreign (two shards; gets of items on the connection's shard, and on the other. Pipelined: 32 connections with 16 \
         under way on each, on all others while one is looked at; alone: one connection, one at a time)\n\n"
        .to_owned();
    let mut noise = Vec::new();
    let mut costs = MANNERS.map(|_| [Vec::new(), Vec::new()]);
    for round in 0..options.rounds as usize {
        let watch = Watch::start();
        let server = Server::start(Who::Epoll, SETUP)?;
        let mut client = Client::new(&server)?;
        for (manner, costs) in MANNERS.iter().zip(&mut costs) {
            for turn in 0..2 {
                let place = [Where::Here, Where::There][(round + turn) % 2];
                let cost = measure(&server, &mut client, manner, place, options.seconds / 2.0)?;
                let Cost { nanos, sleeps } = cost;
                println!("foreign          {} {place:?} {nanos:.0} ns, slept {sleeps:.4} times", manner.name);
                costs[usize::from(place == Where::There)].push(cost);
            }
        }
        // What it has used is this program's only when it has ended.
        drop((client, server));
        noise.push(watch.cores_used_by_others());
    }
    let noisy = noise.iter().filter(|&&cores| cores > NOISY_CORES).count();
    writeln!(text, "Noisy rounds: {noisy} of {}.\n", noise.len())?;
    text.push_str(
        "| gets | ns of processor time for one, both shards and the kernel | times that a shard slept for one | instructions of the \
         program |\n|---|---|---|---|\n",
    );
    for (manner, costs) in MANNERS.iter().zip(&costs) {
        write_rows(&mut text, manner, costs)?;
    }
    let [here, there] = &costs[0];
    let ratio = median(here.iter().zip(there).map(|(here, there)| there.nanos / here.nanos).collect());
    let ratio = ratio.context("there was a round")?;
    let met = if ratio <= BAR { "yes" } else { "**no**" };
    writeln!(text, "\n| bar | demanded | median of the rounds' ratios | met |\n|---|---|---|---|")?;
    writeln!(text, "| processor time, foreign to local, pipelined | ≤ {BAR} | {ratio:.3} | {met} |")?;
    Ok(text)
}

/// Of items here, on the other shard, and the difference.
fn write_rows(text: &mut String, manner: &Manner, costs: &[Vec<Cost>; 2]) -> Result<()> {
    let counted = [Where::Here, Where::There].map(|place| {
        let counted = instructions(manner, place);
        counted
            .inspect_err(|error| println!("foreign          instructions are not counted: {error:#}"))
            .unwrap_or(f64::NAN)
    });
    let of = |costs: &[Cost], value: fn(&Cost) -> f64| median(costs.iter().map(value).collect()).unwrap_or(f64::NAN);
    let row = |place: usize| {
        let costs = &costs[place];
        [of(costs, |cost| cost.nanos), of(costs, |cost| cost.sleeps), counted[place]]
    };
    let (here, there) = (row(0), row(1));
    let difference = [there[0] - here[0], there[1] - here[1], there[2] - here[2]];
    for (place, [nanos, sleeps, count]) in [("here", here), ("on the other shard", there), ("difference", difference)] {
        let count = if count.is_nan() { "not counted".to_owned() } else { format!("{count:.0}") };
        writeln!(text, "| {}, {place} | {nanos:.0} | {sleeps:.4} | {count} |", manner.name)?;
    }
    Ok(())
}

fn measure(server: &Server, client: &mut Client, manner: &Manner, place: Where, seconds: f64) -> Result<Cost> {
    (manner.ask)(client, place, manner.times)?;
    let before = (server.cpu_seconds()?, server.sleeps()?);
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut operations = 0;
    while Instant::now() < end {
        operations += (manner.ask)(client, place, manner.times)?;
    }
    let (seconds, sleeps) = (server.cpu_seconds()? - before.0, server.sleeps()? - before.1);
    Ok(Cost { nanos: seconds * 1e9 / operations as f64, sleeps: sleeps / operations as f64 })
}

/// Instructions per get.
fn instructions(manner: &Manner, place: Where) -> Result<f64> {
    ensure!(exists("valgrind"), "valgrind is not installed");
    let [few, many] = manner.counted.map(|times| counted(manner, place, times));
    let ((few, few_operations), (many, many_operations)) = (few?, many?);
    Ok((many - few) / (many_operations - few_operations) as f64)
}

/// All instructions of a server that lives for so many operations, and how many those are.
fn counted(manner: &Manner, place: Where, times: usize) -> Result<(f64, usize)> {
    let path = target_dir("bench").join("memcached.callgrind");
    let file = format!("--callgrind-out-file={}", path.display());
    let by = ["valgrind", "-q", "--tool=callgrind", &file].map(str::to_owned);
    let server = Server::start_by(Who::Epoll, SETUP, &by)?;
    let mut client = Client::new(&server)?;
    let operations = (manner.ask)(&mut client, place, times)?;
    // What was counted is in the file only when it ends in order.
    read(&mut program("kill", &["-TERM", &server.pid().to_string()]))?;
    server.wait_for_end()?;
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let total = text.lines().filter_map(|line| line.split_once("totals: ").or_else(|| line.split_once("summary: ")));
    let total = total.filter_map(|(_, number)| number.trim().parse::<f64>().ok()).next_back();
    Ok((total.context("callgrind tells no total")?, operations))
}

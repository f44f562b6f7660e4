//! `cargo xtask bench memcached`: memcached beside the original and a bare floor, one server at a time on one processor and seawreck on
//! another; over a device without a kernel; at a moderate rate; what an item takes of memory, and what it costs that another shard has it.

mod contest;
mod foreign;
mod items;
mod load;
mod memory;
mod server;
mod table;

use anyhow::{Context, Result, ensure};

use self::contest::Contest;
use self::server::Who;
use self::table::Table;
use super::bypass::world;
use super::noise::Watch;
use super::{machine, namespace, page};
use crate::command::{cargo, run as run_program};

/// The processors of the server and of the load.
const SERVER_CPU: usize = 0;
const LOAD_CPU: usize = 1;
/// Of each key and value.
const KEY_BYTES: usize = 32;
const VALUE_BYTES: usize = 100;

const MEMORY: &str = "memory";
const FOREIGN: &str = "foreign";

/// How the benchmark is run.
#[derive(clap::Args)]
pub(super) struct Options {
    /// How often each is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Only contests whose name contains this (may be repeated)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Items that are stored to see what memory one takes
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    items: u64,
}

impl Options {
    fn asks_for(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()))
    }
}

/// Runs everything and prints the tables; they also go to `memcached.md` in `target/bench`, and those of a run of everything to
/// `docs/benchmarks.md`.
///
/// # Errors
/// If a program can't be built or is missing, there may be no network namespace, or our own server or the load fails.
pub(super) fn run(options: &Options) -> Result<()> {
    let contests: Vec<Contest> = Contest::ALL.into_iter().filter(|contest| options.asks_for(contest.name())).collect();
    let is_any = !contests.is_empty() || options.asks_for(MEMORY) || options.asks_for(FOREIGN);
    ensure!(is_any, "no contest's name contains any of {:?}", options.only);
    if !namespace::is_inside() {
        let packages = ["--package", "memcached", "--package", "seawreck", "--package", "sunstar-bench-http"];
        let built = run_program(cargo(&["build", "--release"]).args(packages))?;
        ensure!(built.success, "the programs don't build");
        return namespace::enter(&[&world::PROGRAMS[..], &[("memcached", "memcached")]].concat());
    }
    world::set_up()?;
    let mut text = page::brief_head(&machine::command_line())?;
    text.push_str(&format!(
        "- memcached: {}\n- rounds: {} of {} s, interleaved, order rotated; server on processor {SERVER_CPU}, load (seawreck) on \
         {LOAD_CPU}; keys of {KEY_BYTES} bytes, values of {VALUE_BYTES}\n",
        machine::installed("memcached").unwrap_or_else(|| "not Debian's".to_owned()),
        options.rounds,
        options.seconds
    ));
    for contest in contests {
        text.push_str(&measure(contest, options)?.markdown());
    }
    if options.asks_for(MEMORY) {
        text.push_str(&memory::contest(options.items)?);
    }
    if options.asks_for(FOREIGN) {
        text.push_str(&foreign::contest(options)?);
    }
    page::write("memcached.md", &text)?;
    // Only a whole one takes the place of a whole one.
    if options.only.is_empty() {
        page::publish("memcached", &page::as_section("memcached beside the original", &text))
    } else {
        Ok(())
    }
}

fn measure(contest: Contest, options: &Options) -> Result<Table> {
    let peak = if contest == Contest::OpenLoop { Some(peak(options.seconds)?) } else { None };
    let load = contest.load(peak.map(|peak| peak / 2.0));
    let mut table = Table::new(contest, &load);
    let who = contest.contestants();
    for round in 0..options.rounds as usize {
        let watch = Watch::start();
        for who in who.iter().cycle().skip(round % who.len()).take(who.len()) {
            let result = load::measure(*who, &load, options.seconds);
            match &result {
                Ok(figures) => println!("{:<16} {:<28} {figures:?}", contest.name(), who.name()),
                Err(error) => println!("{:<16} {:<28} FAILED: {error:#}", contest.name(), who.name()),
            }
            table.add(*who, result);
        }
        let others = watch.cores_used_by_others();
        println!("{} round {}: others used {others:.2} cores", contest.name(), round + 1);
        table.add_noise(others);
    }
    Ok(table)
}

/// As many requests per second as the original answers on one processor.
fn peak(seconds: f64) -> Result<f64> {
    let load = Contest::Single.load(None);
    let figures = load::measure(Who::Original, &load, seconds).context("the original's peak")?;
    Ok(figures.rate)
}

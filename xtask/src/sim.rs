//! The simulator's scenarios over many seeds, or over one again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use clap::Args;

use crate::command::{Count, cargo, run as run_command, target_dir};
use crate::steps;

/// The scenarios, by a part of their names.
const TESTS: &str = "sim_sweep";

/// The packages that have scenarios; each must have at least one.
const PACKAGES: [&str; 2] = ["sunstar-sim", "sunstar-http"];

/// Tells them which seeds to try: one, or a range.
const SEEDS: &str = "SUNSTAR_SIM_SEEDS";

/// Names the parts of a scenario to leave out.
const OMIT: &str = "SUNSTAR_SIM_OMIT";

/// Has the table of goodput written anew.
const BLESS: &str = "SUNSTAR_SIM_BLESS";

/// Names the file to which every world appends its trace.
const TRACE: &str = "SUNSTAR_SIM_TRACE";

/// Seeds that are tried before the clock is looked at.
const BATCH: u64 = 1000;

/// Which seeds to try.
#[derive(Args)]
pub(crate) struct Options {
    /// Try this seed alone
    #[arg(long, conflicts_with_all = ["sweep", "seeds", "from"])]
    seed: Option<u64>,
    /// Leave out these parts of a scenario, as the report of a failure says
    #[arg(long, value_name = "NUMBERS", requires = "seed")]
    omit: Option<String>,
    /// Try new seeds for so many minutes
    #[arg(long, value_name = "MINUTES", conflicts_with = "seeds")]
    sweep: Option<f64>,
    /// Try so many seeds
    #[arg(long, value_name = "COUNT", default_value_t = BATCH)]
    seeds: u64,
    /// The first seed; without it one that follows from the date
    #[arg(long)]
    from: Option<u64>,
    /// Append the trace of every world to this file
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Instead, show what TCP makes of a long fat line and how fairly flows share it, with so many seeds
    #[arg(long, value_name = "SEEDS", num_args = 0..=1, default_missing_value = "4")]
    figures: Option<u64>,
    /// Only these figures: `no-loss`, `1e-6`, `1e-5`, `1e-4`, `fair-100`, `fair-1000`
    #[arg(long, value_name = "NAME", requires = "figures")]
    only: Vec<String>,
    /// Instead, write the table of goodput anew, by loss, delay and queue
    #[arg(long)]
    table: bool,
}

/// Runs the scenarios, optimised, with the seeds that the options name.
///
/// # Errors
/// If a seed fails, or the scenarios can't be built.
pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some(seeds) = options.figures {
        return figures(seeds, &options.only);
    }
    if options.table {
        return table();
    }
    let first = options.seed.or(options.from).unwrap_or_else(seed_of_today);
    let trace = (options.trace.as_deref(), options.omit.as_deref());
    let Some(minutes) = options.sweep else {
        let count = if options.seed.is_some() { 1 } else { options.seeds };
        return try_seeds(first, count, trace, true).and_then(Count::all_passed);
    };
    let end = Instant::now() + Duration::try_from_secs_f64(60.0 * minutes)?;
    let mut next = first;
    while Instant::now() < end {
        try_seeds(next, BATCH, trace, true).and_then(Count::all_passed)?;
        next += BATCH;
    }
    println!("no seed from {first} to {} failed", next - 1);
    Ok(())
}

/// Tries some new seeds, built as ordinary tests are, so that nothing is built anew.
///
/// # Errors
/// If the scenarios can't be built or there are none.
pub(crate) fn smoke(seeds: u64) -> Result<Count> {
    try_seeds(seed_of_today(), seeds, (None, None), false)
}

/// Runs the simulations of long fat lines.
///
/// # Errors
/// If a figure misses its bar, or they can't be built.
fn figures(seeds: u64, only: &[String]) -> Result<()> {
    let mut command = cargo(&["run", "--locked", "-p", "sunstar-bench", "--bin", "sunstar-figures"]);
    optimise(&mut command);
    ensure!(run_command(command.args(["--", &seeds.to_string(), "0"]).args(only))?.success, "a figure misses its bar");
    Ok(())
}

/// Writes the table of goodput, with which a test compares.
///
/// # Errors
/// If it can't be made.
fn table() -> Result<()> {
    let mut command = cargo(&["test", "--locked", "--lib", "-p", "sunstar-sim", "goodput_table"]);
    steps::counted(command.env(BLESS, "1")).and_then(Count::all_passed)
}

fn try_seeds(first: u64, count: u64, what: (Option<&Path>, Option<&str>), is_optimised: bool) -> Result<Count> {
    let (trace, omit) = what;
    let mut total = Count::default();
    for package in PACKAGES {
        let mut command = cargo(&["test", "--locked", "--lib", "-p", package]);
        if is_optimised {
            optimise(&mut command);
            command.env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true");
        }
        command.arg(TESTS).env(SEEDS, format!("{first}..{}", first.saturating_add(count)));
        if let Some(omit) = omit {
            command.env(OMIT, omit);
        }
        if let Some(trace) = trace {
            command.env(TRACE, std::path::absolute(trace)?);
        }
        total.add(steps::counted(&mut command)?);
    }
    Ok(total)
}

/// Has cargo build for speed, but not as long as for users.
fn optimise(command: &mut Command) {
    command.arg("--release").env("CARGO_TARGET_DIR", target_dir("sim"));
    command.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
}

/// Seeds that were not tried yesterday: milliseconds since 1970.
fn seed_of_today() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
}

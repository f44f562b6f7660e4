//! `cargo xtask bench gates`: instructions per operation, counted by callgrind, against a recorded baseline.
//!
//! Instruction counts repeat where times don't. Plain valgrind counts what one function of the programs calls; a
//! harness such as gungraun would need a runner of exactly its own version installed wherever the check runs, and count
//! the same.

mod lines;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::program::build_sunstar;
use crate::command::{Count, exists, program, read, root, target_dir};

const BASELINE_PATH: &str = "bench/gates.toml";
/// More than so much above the baseline fails; so much below asks for a new one.
const TOLERANCE: f64 = 0.03;
const PROGRAMS: [&str; 7] = [
    "sunstar-gates",
    "sunstar-gates-http",
    "sunstar-gates-memcache",
    "sunstar-gates-tcp",
    "sunstar-gates-tcpip",
    "sunstar-gates-virtio",
    "sunstar-gates-wire",
];
/// The function of the programs under which instructions count.
const MEASURED: &str = "sunstar_bench_common::gates::measured*";
const HEADER: &str = "\
# Instructions per operation, counted by `cargo xtask bench gates` and recorded by its `--bless`.
# They hold for the compiler named, and for builds with `--profile bench`.
";

/// How the gates are run.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Record what is counted as the new baseline
    #[arg(long)]
    bless: bool,
}

/// What the counts are compared with.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Baseline {
    compiler: String,
    instructions: BTreeMap<String, f64>,
}

/// How a gate's count stands to its baseline.
#[derive(Debug, PartialEq)]
enum Verdict {
    Held,
    /// So far above, as a fraction, that it fails.
    Worse(f64),
    /// So far below, as a fraction, that the baseline should follow.
    Better(f64),
    /// The baseline doesn't know it.
    Unknown,
}

/// Runs the gates, or records what they count.
///
/// # Errors
/// If a gate fails, or can't be counted.
pub(super) fn command(options: &Options) -> Result<()> {
    if options.bless {
        let baseline = Baseline { compiler: compiler()?, instructions: count_all()? };
        let text = format!("{HEADER}{}", toml::to_string(&baseline)?);
        fs::write(root().join(BASELINE_PATH), text).with_context(|| format!("writing {BASELINE_PATH}"))?;
        println!("recorded in {BASELINE_PATH}");
        return Ok(());
    }
    let count = run()?;
    ensure!(count.failed == 0, "{} of {} gates failed", count.failed, count.failed + count.passed);
    Ok(())
}

/// Counts every gate and compares it with the baseline.
///
/// # Errors
/// If the programs can't be built or counted, or the baseline can't be read.
pub(crate) fn run() -> Result<Count> {
    let text = fs::read_to_string(root().join(BASELINE_PATH)).with_context(|| format!("reading {BASELINE_PATH}"))?;
    let baseline: Baseline = toml::from_str(&text).with_context(|| format!("parsing {BASELINE_PATH}"))?;
    let compiler = compiler()?;
    if compiler != baseline.compiler {
        println!("note: the baseline was counted with {}, this is {compiler}", baseline.compiler);
    }
    let counted = count_all()?;
    let mut count = Count::default();
    let mut table = String::new();
    for (name, &instructions) in &counted {
        let recorded = baseline.instructions.get(name).copied();
        let verdict = judge(instructions, recorded);
        let failed = matches!(verdict, Verdict::Worse(_) | Verdict::Unknown);
        count.add(Count { passed: u64::from(!failed), failed: u64::from(failed) });
        let recorded = recorded.map_or_else(|| "–".to_owned(), |recorded| format!("{recorded:.1}"));
        writeln!(table, "{name:<12} {instructions:>10.1} instructions, baseline {recorded:>8}  {}", remark(&verdict))?;
    }
    for name in baseline.instructions.keys().filter(|name| !counted.contains_key(*name)) {
        count.failed += 1;
        writeln!(table, "{name:<12} is in the baseline but no longer counted: --bless")?;
    }
    print!("{table}");
    lines::print()?;
    Ok(count)
}

fn judge(counted: f64, recorded: Option<f64>) -> Verdict {
    let Some(recorded) = recorded else { return Verdict::Unknown };
    let change = counted / recorded - 1.0;
    if counted > recorded * (1.0 + TOLERANCE) {
        Verdict::Worse(change)
    } else if counted < recorded * (1.0 - TOLERANCE) {
        Verdict::Better(-change)
    } else {
        Verdict::Held
    }
}

fn remark(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Held => "ok".to_owned(),
        Verdict::Worse(change) => format!("FAILED: {:.1} % above", change * 100.0),
        Verdict::Better(change) => {
            format!("ok, {:.1} % below: keep it with `cargo xtask bench gates --bless`", change * 100.0)
        }
        Verdict::Unknown => "FAILED: no baseline; record one with `cargo xtask bench gates --bless`".to_owned(),
    }
}

fn compiler() -> Result<String> {
    Ok(read(&mut program("rustc", &["--version"]))?.trim().to_owned())
}

/// Instructions per operation of every gate.
fn count_all() -> Result<BTreeMap<String, f64>> {
    ensure!(exists("valgrind"), "the gates need valgrind");
    build_sunstar(&PROGRAMS)?;
    let mut counted = BTreeMap::new();
    for name in PROGRAMS {
        let gates = target_dir("release").join(name);
        let gates = gates.to_string_lossy();
        let list = read(&mut program(&gates, &["--list"]))?;
        for line in list.lines() {
            let (name, operations) = line.split_once(' ').context("a gate's line has its name and a number")?;
            let operations: f64 = operations.parse().context("a gate's number of operations")?;
            let instructions = count(&gates, name).with_context(|| format!("counting {name}"))?;
            // A tenth of an instruction is precise enough for anybody.
            counted.insert(name.to_owned(), (instructions / operations * 10.0).round() / 10.0);
        }
    }
    Ok(counted)
}

fn count(gates: &str, name: &str) -> Result<f64> {
    let toggle = format!("--toggle-collect={MEASURED}");
    let args = ["--tool=callgrind", "--callgrind-out-file=/dev/null", &toggle, gates, name];
    let output = program("valgrind", &args).output().context("starting valgrind")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind ended with {}:\n{told}", output.status);
    let instructions = collected(&told).with_context(|| format!("valgrind doesn't tell what it collected:\n{told}"))?;
    ensure!(instructions > 0.0, "nothing was counted: there is no function {MEASURED}");
    Ok(instructions)
}

/// Reads `==123== Collected : 4585376`.
fn collected(told: &str) -> Option<f64> {
    told.lines().find_map(|line| line.split_once("Collected : "))?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Verdict, collected, judge};

    #[test]
    fn three_per_cent_more_is_tolerated_and_not_a_hair_beyond() {
        assert_eq!(judge(103.0, Some(100.0)), Verdict::Held);
        assert!(matches!(judge(103.1, Some(100.0)), Verdict::Worse(_)));
        assert_eq!(judge(97.5, Some(100.0)), Verdict::Held);
        assert!(matches!(judge(96.0, Some(100.0)), Verdict::Better(_)));
    }

    #[test]
    fn a_gate_without_baseline_fails() {
        assert_eq!(judge(1.0, None), Verdict::Unknown);
    }

    #[test]
    fn reads_what_callgrind_collected() {
        assert_eq!(collected("==5== Events    : Ir\n==5== Collected : 4585376\n==5== \n"), Some(4_585_376.0));
        assert_eq!(collected("==5== Events    : Ir\n"), None);
    }
}

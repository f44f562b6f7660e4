//! Bugs that the fuzz targets must find, each by itself: they begin with those inputs of their corpora that do not show the bug.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{arguments, cargo_fuzz, chosen, folder};
use crate::command::{Count, run as run_command};
use crate::planted::{evidence, until};

/// How much time of a processor a target may take to find a bug.
const BUDGET_SECONDS: u64 = 60;

/// So much is shown of what a target has noticed.
const EVIDENCE_LETTERS: usize = 100;

/// The unit in which the kernel says so, as programs see it.
const TICKS_PER_SECOND: u64 = 100;

/// A target, the package that has a bug, and the bug.
type Bug = (&'static str, &'static str, &'static str);

/// The bugs of a round are planted at the same time. Each is in what only its target runs, or is the same for all that run it.
const ROUNDS: &[&[Bug]] = &[
    &[
        ("accept", HTTP, "later_weight"),
        ("conditional", HTTP, "date_beside_tag"),
        ("http1", HTTP1, "head_answered_whole"),
        ("http1_client", HTTP1, "interim_unbounded"),
        ("path", HTTP, "path_checked_encoded"),
        ("range", HTTP, "range_last_wraps"),
        ("router", HTTP, "empty_parameter"),
        ("uri", HTTP, "uri_delete"),
    ],
    &[
        ("accept", HTTP, "star_is_identity"),
        ("conditional", HTTP, "tag_ends_at_comma"),
        ("http1", HTTP1, "large_body_unanswered"),
        ("http1_client", HTTP1, "unasked_taken"),
        ("path", HTTP, "path_digit_colon"),
        ("range", HTTP, "range_meets_one"),
        ("router", HTTP, "encoded_is_other"),
        ("uri", HTTP, "uri_short_address"),
    ],
    &[
        ("accept", HTTP, "weight_four_digits"),
        ("conditional", HTTP, "weak_part"),
        ("http1", HTTP1, "truncated_head_kept"),
        ("http1_client", HTTP1, "until_close_unbounded"),
        ("path", HTTP, "path_keeps_nul"),
        ("range", HTTP, "range_suffix_wraps"),
        ("router", HTTP, "stale_span"),
        ("uri", HTTP, "uri_signed_port"),
    ],
    &[("http1", HTTP1, "digits_per_piece"), ("http1_client", HTTP1, "digits_per_piece")],
    &[("http1", HTTP1, "empty_lines_pile_up"), ("http1_client", HTTP1, "empty_lines_pile_up")],
    &[("http1", HTTP1, "head_end_forgotten"), ("http1_client", HTTP1, "head_end_forgotten")],
];

const HTTP: &str = "sunstar-http";
const HTTP1: &str = "sunstar-http1";

const TARGETS_PACKAGE: &str = "sunstar-fuzz";

/// Plants the bugs of the targets named, or of all, and counts those that they find in time.
///
/// # Errors
/// If a name is unknown, a build fails, or a bug is not found.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let chosen: Vec<&str> = chosen(names)?.collect();
    let mut count = Count::default();
    for round in ROUNDS {
        let bugs: Vec<Bug> = round.iter().filter(|(target, ..)| chosen.contains(target)).copied().collect();
        if bugs.is_empty() {
            continue;
        }
        build(&bugs)?;
        for (target, _, bug) in bugs {
            let found = find(target).with_context(|| format!("planted bug {bug}"))?;
            count.add(Count { passed: u64::from(found.is_some()), failed: u64::from(found.is_none()) });
            match found {
                Some(how) => println!("found   {target:<12} {bug:<22} {how}"),
                None => println!("MISSED  {target:<12} {bug:<22} within {BUDGET_SECONDS} s"),
            }
        }
    }
    println!("{} found, {} missed", count.passed, count.failed);
    count.all_passed()
}

/// Each bug with its package.
pub(crate) fn in_table() -> BTreeSet<(String, String)> {
    ROUNDS.iter().copied().flatten().map(|&(_, package, bug)| (package.to_owned(), bug.to_owned())).collect()
}

/// Where cargo finds what is planted, and the targets put what they find.
fn place() -> PathBuf {
    folder().join("target/planted")
}

/// Builds targets with their bugs. The flags go by the profiles of packages, so that what they depend on is built once.
fn build(bugs: &[Bug]) -> Result<()> {
    let mut config = "[unstable]\nprofile-rustflags = true\n".to_owned();
    // The targets compile some sources of the one by themselves.
    for (package, from) in [(HTTP, HTTP), (HTTP1, HTTP1), (TARGETS_PACKAGE, HTTP)] {
        let bugs = bugs.iter().filter(|(_, package, _)| *package == from);
        let flags: String = bugs.map(|(.., bug)| format!("\"--cfg\", 'planted=\"{bug}\"', ")).collect();
        config += &format!("[profile.release.package.{package}]\nrustflags = [{flags}]\n");
    }
    let config_folder = place().join(".cargo");
    fs::create_dir_all(&config_folder)?;
    fs::write(config_folder.join("config.toml"), config)?;
    let mut command = cargo_fuzz("build");
    command.arg("--target-dir").arg(place().join("build")).current_dir(place());
    ensure!(run_command(&mut command)?.success, "the targets do not compile with the bugs in them");
    Ok(())
}

/// Runs a target, and answers what it has found, and how soon.
fn find(target: &str) -> Result<Option<String>> {
    let begin = place().join(target);
    if begin.exists() {
        fs::remove_dir_all(&begin)?;
    }
    fs::create_dir_all(&begin)?;
    let (harmless, all) = copy_harmless(target, &begin)?;
    let mut command = executable(target);
    command.arg(&begin);
    arguments(&mut command, target, 0);
    let Some((false, output)) = run_within_budget(&mut command)? else { return Ok(None) };
    let executions = output.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let executions = executions.unwrap_or("?").trim();
    let how: String = evidence(&output).chars().take(EVIDENCE_LETTERS).collect();
    Ok(Some(format!("{executions:>8} executions from {harmless} of {all} inputs: {how}")))
}

/// Copies the inputs of a corpus that a target passes, and answers how many they are, of how many.
fn copy_harmless(target: &str, to: &Path) -> Result<(usize, usize)> {
    let (mut harmless, mut all) = (0, 0);
    for entry in fs::read_dir(folder().join("corpus").join(target))? {
        let path = entry?.path();
        all += 1;
        if let Some((true, _)) = run_within_budget(executable(target).arg(&path))? {
            fs::copy(&path, to.join(path.file_name().unwrap_or_default()))?;
            harmless += 1;
        }
    }
    Ok((harmless, all))
}

fn executable(target: &str) -> Command {
    let mut command = Command::new(place().join("build/x86_64-unknown-linux-gnu/release").join(target));
    command.arg(format!("-artifact_prefix={}/", place().display())).env("ASAN_OPTIONS", "detect_odr_violation=0");
    command
}

fn run_within_budget(command: &mut Command) -> Result<Option<(bool, String)>> {
    until(command, |child| Ok(processor_seconds(child.id())? > BUDGET_SECONDS))
}

/// How long a process has had a processor.
fn processor_seconds(id: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // Behind the name, which may have spaces, user time and system time are the twelfth and the thirteenth.
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(ticks / TICKS_PER_SECOND)
}

//! The fuzz targets, for as long as one likes.
//!
//! What they find stays in the build directory, where the next run begins.

use std::fs;

use anyhow::{Context, Result, bail, ensure};

use crate::command::{program, root, run as run_command, target_dir};

/// The targets, and how long an input may be, in bytes: enough for all that each tells apart.
const TARGETS: &[(&str, u32)] = &[
    ("accept", 300),
    ("conditional", 300),
    ("http1", 1000),
    ("path", 300),
    ("range", 300),
    ("router", 1000),
    ("uri", 300),
];

/// Fuzzes the targets named, or all, one after the other for `seconds` each. An input that fails ends the run.
///
/// # Errors
/// If a name is unknown, a target can't be built, or an input fails.
pub(crate) fn run(seconds: u64, names: &[String]) -> Result<()> {
    let is_known = |name: &&String| TARGETS.iter().any(|(target, _)| target == name);
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        let known: Vec<&str> = TARGETS.iter().map(|&(target, _)| target).collect();
        bail!("there is no fuzz target {unknown}; there are {}", known.join(", "));
    }
    for (target, max_bytes) in
        TARGETS.iter().filter(|(target, _)| names.is_empty() || names.iter().any(|name| name == target))
    {
        fuzz(target, *max_bytes, seconds)?;
    }
    Ok(())
}

fn fuzz(target: &str, max_bytes: u32, seconds: u64) -> Result<()> {
    let found = target_dir("fuzz").join(target);
    fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
    let mut command = program("rustup", &["run", "nightly", "cargo", "fuzz", "run", "--fuzz-dir", "fuzz", target]);
    command.arg(&found).arg(root().join("fuzz/corpus").join(target));
    command.args([
        "--",
        &format!("-max_total_time={seconds}"),
        &format!("-max_len={max_bytes}"),
        "-print_final_stats=1",
    ]);
    ensure!(run_command(&mut command)?.success, "{target} failed: the input is named above");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_target_is_known_and_has_a_corpus() {
        let names = |folder: &str| -> BTreeSet<String> {
            let entries = fs::read_dir(root().join(folder)).unwrap();
            entries
                .map(|entry| entry.unwrap().file_name().to_string_lossy().trim_end_matches(".rs").to_owned())
                .collect()
        };
        let known: BTreeSet<String> = TARGETS.iter().map(|(target, _)| (*target).to_owned()).collect();
        assert_eq!(known, names("fuzz/fuzz_targets"));
        assert_eq!(known, names("fuzz/corpus"));
    }

    #[test]
    fn an_unknown_target_is_refused() {
        assert!(run(1, &["no-such-target".to_owned()]).is_err());
    }
}

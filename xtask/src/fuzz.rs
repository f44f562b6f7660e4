//! The fuzz targets, for as long as one likes.
//!
//! What they find stays in the build directory, where the next run begins.

mod planted;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

pub(crate) use self::planted::{in_table, run as run_planted};
use crate::command::{program, root, run as run_command, target_dir};

/// The targets, and how long an input may be, in bytes: enough for all that each tells apart.
const TARGETS: &[(&str, u32)] = &[
    ("accept", 300),
    ("conditional", 300),
    ("http1", 1000),
    ("http1_client", 1000),
    ("memcache", 800),
    ("memcache_binary", 500),
    ("memcache_client", 800),
    ("memcache_datagram", 1600),
    ("names", 400),
    ("path", 300),
    ("range", 300),
    ("router", 1000),
    ("tcpip", 300),
    ("told", 300),
    ("uri", 300),
    ("vhost_user", 200),
    ("vhost_user_front", 24),
    ("virtio", 300),
    ("virtio_driver", 300),
    ("wire", 200),
];

/// Fuzzes the targets named, or all, one after the other for `seconds` each. An input that fails ends the run.
///
/// # Errors
/// If a name is unknown, a target can't be built, or an input fails.
pub(crate) fn run(seconds: u64, names: &[String]) -> Result<()> {
    for target in chosen(names)? {
        let found = target_dir("fuzz").join(target);
        fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
        let mut command = cargo_fuzz("run");
        command.arg(target).arg(&found).arg(root().join("fuzz/corpus").join(target)).arg("--");
        arguments(&mut command, target, seconds);
        ensure!(run_command(&mut command)?.success, "{target} failed: the input is named above");
    }
    Ok(())
}

/// The targets named, or all.
fn chosen(names: &[String]) -> Result<impl Iterator<Item = &'static str>> {
    let known = || TARGETS.iter().map(|&(target, _)| target);
    if let Some(unknown) = names.iter().find(|name| known().all(|target| target != *name)) {
        bail!("there is no fuzz target {unknown}; there are {}", known().collect::<Vec<_>>().join(", "));
    }
    Ok(known().filter(move |target| names.is_empty() || names.iter().any(|name| name == target)))
}

fn cargo_fuzz(what: &str) -> Command {
    let mut command = program("rustup", &["run", "nightly", "cargo", "fuzz", what, "--fuzz-dir"]);
    command.arg(folder());
    command
}

fn folder() -> PathBuf {
    root().join("fuzz")
}

/// Tells a target for how long to run, and what its inputs are made of.
fn arguments(command: &mut Command, target: &str, seconds: u64) {
    let max_bytes = TARGETS.iter().find(|(other, _)| *other == target).map_or(300, |&(_, max_bytes)| max_bytes);
    let dictionary = folder().join("dictionaries").join(target).with_extension("dict");
    command.args([
        format!("-max_total_time={seconds}"),
        format!("-max_len={max_bytes}"),
        format!("-dict={}", dictionary.display()),
        "-print_final_stats=1".to_owned(),
    ]);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_target_is_known_and_has_a_corpus_and_a_dictionary() {
        let names = |folder: &str| -> BTreeSet<String> {
            let entries = fs::read_dir(root().join(folder)).unwrap();
            entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect()
        };
        let known: BTreeSet<String> = TARGETS.iter().map(|(target, _)| (*target).to_owned()).collect();
        assert_eq!(known, names("fuzz/fuzz_targets"));
        assert_eq!(known, names("fuzz/corpus"));
        assert_eq!(known, names("fuzz/dictionaries"));
    }

    #[test]
    fn an_unknown_target_is_refused() {
        assert!(run(1, &["no-such-target".to_owned()]).is_err());
    }
}

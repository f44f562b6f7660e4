//! The link test: a program without operating system and C library uses the pure crates, links and runs.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::command::{cargo, program, read, run, target_dir};

/// The proving program, a workspace of its own.
pub(crate) const MANIFEST: &str = "proof/no-os/Cargo.toml";

/// Named, so that the flags are not for what is built to run during the build. The program is written for it.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// No C library, no start files, nothing loaded at run time.
const FLAGS: &str = "-Crelocation-model=static -Clink-arg=-nostdlib -Clink-arg=-static -Clink-arg=-nostartfiles";

/// Builds the program, looks at what it needs, runs it, and makes sure that it would notice the standard library.
///
/// # Errors
/// If any of this fails.
pub(crate) fn check() -> Result<()> {
    ensure!(run(&mut build(&[]))?.success, "the program does not link without an operating system");
    let binary = target_dir("no-os").join(TARGET).join("release/no-os");
    needs_nothing(&binary)?;
    let status = Command::new(&binary).status()?;
    ensure!(status.success(), "the program ended with {status}: see `CHECKS` in proof/no-os/src/main.rs");
    println!("{} ran without operating system or C library", binary.display());
    would_notice_std()
}

/// Builds the program with the standard library slipped in, which must fail, and for that reason.
fn would_notice_std() -> Result<()> {
    let output = build(&["--features", "planted-std"]).output()?;
    ensure!(!output.status.success(), "the standard library was slipped in and nothing failed");
    let errors = String::from_utf8_lossy(&output.stderr);
    // E0152: std has a panic handler of its own.
    ensure!(errors.contains("E0152"), "with the standard library slipped in it failed for another reason:\n{errors}");
    println!("with the standard library slipped in it does not build, as it should be");
    Ok(())
}

/// The command of clippy for the program.
pub(crate) fn clippy() -> Command {
    command("clippy")
}

fn build(more: &[&str]) -> Command {
    let mut build = command("build");
    build.args(more);
    build
}

fn command(subcommand: &str) -> Command {
    let mut command = cargo(&[subcommand, "--locked", "--quiet", "--release", "--target", TARGET]);
    command.args(["--manifest-path", MANIFEST, "--target-dir"]).arg(target_dir("no-os")).env("RUSTFLAGS", FLAGS);
    command
}

/// Whether a binary is complete in itself: no interpreter, no dynamic section, no undefined symbol.
fn needs_nothing(binary: &Path) -> Result<()> {
    let path = binary.display().to_string();
    let headers = read(&mut program("readelf", &["--wide", "--program-headers", "--symbols", &path]))?;
    let problems = foreign_needs(&headers);
    ensure!(problems.is_empty(), "{path} needs what is not in it: {}", problems.join(", "));
    Ok(())
}

/// What readelf's listing shows that must come from outside.
fn foreign_needs(listing: &str) -> Vec<String> {
    let segments = ["INTERP", "DYNAMIC"];
    listing
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [segment, ..] if segments.contains(segment) => Some(format!("the segment {segment}")),
                // Number, value, size, type, binding, visibility, section, name; the unnamed symbol 0 is no symbol.
                [_, _, _, _, _, _, "UND", name, ..] => Some(format!("the symbol {name}")),
                _ => None,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_program_needs_nothing() {
        let listing = "  LOAD 0x0 0x400000 R E\n     0: 0000000000000000 0 NOTYPE  LOCAL  DEFAULT  UND \n";
        assert!(foreign_needs(listing).is_empty());
    }

    #[test]
    fn interpreters_and_undefined_symbols_are_noticed() {
        let listing = "  INTERP 0x318 0x318\n     7: 0000000000000000 0 FUNC GLOBAL DEFAULT  UND malloc\n";
        assert_eq!(foreign_needs(listing), ["the segment INTERP", "the symbol malloc"]);
    }
}

//! What programs have in common whose instructions are counted by `cargo xtask bench gates`: `NAME`, or `--list`.
//!
//! Only what [`measured`] calls is counted; the same work was done once before, so caches and pools are warm.

use std::hint::black_box;
use std::process::ExitCode;

/// Operations per counted run; xtask divides by it.
const OPERATIONS: u64 = 10_000;

/// What runs so many operations.
pub type Work = Box<dyn Fn(u64)>;

/// A gate: its name, and what prepares its work.
pub type Gate = (&'static str, fn() -> Work);

/// Runs the gate that the command line names, or names all of them.
pub fn main(gates: &[Gate]) -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == "--list" {
        gates.iter().for_each(|(name, _)| println!("{name} {OPERATIONS}"));
        return ExitCode::SUCCESS;
    }
    let Some((_, prepare)) = gates.iter().find(|(name, _)| *name == argument) else {
        eprintln!("usage: NAME | --list");
        return ExitCode::FAILURE;
    };
    let work = prepare();
    work(OPERATIONS);
    measured(&work);
    ExitCode::SUCCESS
}

/// What is counted; xtask names this function to callgrind.
#[inline(never)]
fn measured(work: &Work) {
    black_box(work)(OPERATIONS);
}

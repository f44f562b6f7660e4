//! What programs have in common whose instructions are counted by `cargo xtask bench gates`: `NAME`, or `--list`.
//!
//! Only what `measured` calls is counted; the same work was done once before, so caches and pools are warm.

use std::hint::black_box;
use std::process::ExitCode;

/// Operations per counted run; xtask divides by it.
pub const OPERATIONS: u32 = 10_000;

/// What runs so many operations.
pub type Work = Box<dyn Fn(u64)>;

/// A gate: its name, and what prepares its work.
pub type Gate = (&'static str, fn() -> Work);

/// What runs [`OPERATIONS`] operations, and uses up what was prepared for them.
pub type WorkOnce = Box<dyn FnOnce()>;

/// A gate whose input is used up.
pub type GateOnce = (&'static str, fn() -> WorkOnce);

/// Runs the gate that the command line names, or names all of them.
pub fn main(gates: &[Gate]) -> ExitCode {
    chosen(gates, |prepare| {
        let work = prepare();
        work(OPERATIONS.into());
        measured(&work);
    })
}

/// The same for gates whose input is used up: they warm up by themselves. `others` are found by their names and not among all: of them
/// something else is counted.
pub fn main_once(gates: &[GateOnce], others: &[GateOnce]) -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    let among = if others.iter().any(|(other, _)| *other == name) { others } else { gates };
    chosen(among, |prepare| measured_once(prepare()))
}

fn chosen<T>(gates: &[(&'static str, T)], run: impl FnOnce(&T)) -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == "--list" {
        gates.iter().for_each(|(name, _)| println!("{name} {OPERATIONS}"));
        return ExitCode::SUCCESS;
    }
    let Some((_, prepare)) = gates.iter().find(|(name, _)| *name == argument) else {
        eprintln!("usage: NAME | --list");
        return ExitCode::FAILURE;
    };
    run(prepare);
    ExitCode::SUCCESS
}

/// What is counted; xtask names this function to callgrind.
#[inline(never)]
fn measured(work: &Work) {
    black_box(work)(OPERATIONS.into());
}

/// The same for what uses up its input.
#[inline(never)]
fn measured_once(work: WorkOnce) {
    black_box(work)();
}

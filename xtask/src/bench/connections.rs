//! `cargo xtask bench connections`: millions of idle connections in one process on Sunstar's own stack, of which then each is asked.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::program::build_sunstar;
use super::{machine, page};
use crate::command::{program, read, target_dir};

const PROGRAM: &str = "sunstar-connections";

/// What a connection may take, its task aside.
const BYTES_BAR: f64 = 512.0;
/// The process takes no more for each, with its task and with what the allocator adds; so much has to be free.
const BYTES_NEEDED: u64 = 1_024;

/// How the benchmark is run.
#[derive(clap::Args)]
pub(super) struct Options {
    /// How many connections are opened
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
}

/// What the program prints.
#[derive(Deserialize)]
struct Figures {
    connections: u32,
    stack_bytes: f64,
    socket_bytes: f64,
    task_bytes: f64,
    resident_bytes: f64,
    resident_bytes_after: f64,
    open_seconds: f64,
    stall_ms: f64,
    ask_seconds: f64,
    answers: u32,
    failures: u32,
}

/// Runs it and prints the table; it also goes to `connections.md` in `target/bench`.
///
/// # Errors
/// If the program can't be built, there is too little memory, or not all connections were opened and have answered.
pub(super) fn run(options: &Options) -> Result<()> {
    build_sunstar(&[PROGRAM])?;
    let needed = u64::from(options.connections) * BYTES_NEEDED;
    let free = available_bytes()?;
    ensure!(free >= needed, "{} MiB of memory are available, and {} are needed", free >> 20, needed >> 20);
    let path = target_dir("release").join(PROGRAM);
    let output = read(&mut program(&path.to_string_lossy(), &[&options.connections.to_string()]))?;
    let figures = serde_json::from_str(&output).with_context(|| format!("reading `{output}`"))?;
    page::write("connections.md", &format!("{}{}", page::head(&machine::command_line())?, markdown(&figures)))
}

/// Memory that programs may have without anything being swapped out.
fn available_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib << 10).context("the kernel does not tell how much memory is available")
}

fn markdown(figures: &Figures) -> String {
    let Figures { connections, stack_bytes, socket_bytes, task_bytes, resident_bytes, resident_bytes_after, .. } =
        figures;
    let Figures { open_seconds, stall_ms, ask_seconds, answers, failures, .. } = figures;
    let handles = stack_bytes + socket_bytes;
    let met = |is_met| if is_met { "yes" } else { "**no**" };
    let each = |seconds: &f64| 1e6 * seconds / f64::from(*connections);
    format!(
        "\n## {connections} idle connections, and a request on each\n\n\
         | figure | value | demanded | met |\n|---|---|---|---|\n\
         | bytes each, counted: stack with its tables | {stack_bytes:.1} | | |\n\
         | socket | {socket_bytes:.1} | | |\n\
         | both | {handles:.1} | ≤ {BYTES_BAR} | {} |\n\
         | task | {task_bytes:.1} | | |\n\
         | bytes each, resident, all of it | {resident_bytes:.1} | | |\n\
         | the same after all were asked | {resident_bytes_after:.1} | | |\n\
         | opened in s | {open_seconds:.1} | | |\n\
         | µs each | {:.2} | | |\n\
         | longest stall meanwhile in ms | {stall_ms:.0} | | |\n\
         | asked and answered in s | {ask_seconds:.1} | | |\n\
         | µs each | {:.2} | | |\n\
         | right answers | {answers} | {connections} | {} |\n\
         | wrong ones, resets | {failures} | 0 | {} |\n",
        met(handles <= BYTES_BAR),
        each(open_seconds),
        each(ask_seconds),
        met(answers == connections),
        met(*failures == 0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_is_not_met() {
        let text = r#"{"connections":10,"stack_bytes":470,"socket_bytes":41,"task_bytes":128,"resident_bytes":700,
            "resident_bytes_after":710,"open_seconds":1,"stall_ms":3,"ask_seconds":2,"answers":9,"failures":0}"#;
        let figures: Figures = serde_json::from_str(text).expect("it is what the program prints");
        let table = markdown(&figures);
        assert!(table.contains("| both | 511.0 | ≤ 512 | yes |"), "{table}");
        assert!(table.contains("| right answers | 9 | 10 | **no** |"), "{table}");
    }
}

//! The command line of a benchmark program: `PROGRAM PEER BENCH [--short]`, or `PROGRAM --list`.

use std::process::ExitCode;
use std::time::Duration;

use crate::measure::{Plan, Reporter};

/// One benchmark of one peer.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Who is measured.
    pub peer: &'static str,
    /// What is measured.
    pub bench: &'static str,
    /// Runs it, pins threads to the first cores, and reports.
    pub run: fn(Reporter),
}

impl Entry {
    /// An entry for [`main`].
    pub const fn new(peer: &'static str, bench: &'static str, run: fn(Reporter)) -> Self {
        Self { peer, bench, run }
    }
}

/// Runs what the command line asks for.
pub fn main(entries: &[Entry]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (peer, bench, short) = match *words.as_slice() {
        ["--list"] => {
            for entry in entries {
                println!("{} {}", entry.peer, entry.bench);
            }
            return ExitCode::SUCCESS;
        }
        [peer, bench] => (peer, bench, false),
        [peer, bench, "--short"] => (peer, bench, true),
        _ => {
            eprintln!("usage: PROGRAM PEER BENCH [--short] | PROGRAM --list");
            return ExitCode::FAILURE;
        }
    };
    let Some(entry) = entries.iter().find(|entry| entry.peer == peer && entry.bench == bench) else {
        eprintln!("no benchmark {bench} of {peer}; --list names them all");
        return ExitCode::FAILURE;
    };
    (entry.run)(Reporter::new(entry.peer, entry.bench, plan(short)));
    ExitCode::SUCCESS
}

fn plan(short: bool) -> Plan {
    if short {
        Plan {
            target: Duration::from_millis(60),
            timers: 100_000,
            timer_lead: Duration::from_millis(700),
            connections: 100_000,
            shares: Duration::from_millis(700),
            idle: Duration::from_secs(1),
        }
    } else {
        Plan {
            target: Duration::from_millis(300),
            timers: 1_000_000,
            timer_lead: Duration::from_secs(3),
            connections: 1_000_000,
            shares: Duration::from_secs(2),
            idle: Duration::from_secs(4),
        }
    }
}

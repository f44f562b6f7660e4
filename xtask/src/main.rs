//! The commands of the repository: `cargo xtask test` runs every check, the others run one kind with options.

mod asan;
mod bench;
mod command;
mod fuzz;
mod licenses;
mod link;
mod loom;
mod lwip;
mod packages;
mod packetdrill;
mod planted;
mod sim;
mod soak;
mod steps;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Commands of the Sunstar repository.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every check, or only the steps named
    Test {
        /// Steps to run, in the order of the list; all of them if none is named
        steps: Vec<String>,
        /// Show the steps instead of running them
        #[arg(long)]
        list: bool,
        /// Install missing system packages (as root; always done when CI=true)
        #[arg(long)]
        install: bool,
    },
    /// Check the house rules that no compiler checks
    Tidy {
        /// Record in the ratchet what has become shorter
        #[arg(long)]
        bless: bool,
    },
    /// Run the loom models of everything that several threads touch
    Loom {
        /// Only models whose name contains this
        filter: Option<String>,
        /// How often a model's threads may be interrupted; LOOM_MAX_PREEMPTIONS overrides it
        #[arg(long, default_value_t = loom::PREEMPTIONS)]
        preemptions: u32,
    },
    /// Build with each planted bug and demand that the tests find it
    Planted {
        /// Bugs to plant; all of them if none is named
        names: Vec<String>,
        /// Show the planted bugs instead of running them
        #[arg(long)]
        list: bool,
    },
    /// Run the randomised tests, of cancellation and of clients that misbehave, for long
    Soak {
        /// Only the tests whose package or name contains this
        #[arg(value_name = "NAME", conflicts_with = "only")]
        name: Option<String>,
        /// For how long, per test
        #[arg(long, default_value_t = 600)]
        seconds: u64,
        /// The same in minutes
        #[arg(long, conflicts_with = "seconds")]
        minutes: Option<u64>,
        /// The same as the name
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
    },
    /// Run the fuzz targets (needs the nightly toolchain and cargo-fuzz)
    Fuzz {
        /// Targets to run; all of them if none is named. With `--planted` also bugs: only those then
        targets: Vec<String>,
        /// For how long, per target
        #[arg(long, default_value_t = 600)]
        seconds: u64,
        /// Plant bugs instead, and demand that each is found within a minute of a processor's time
        #[arg(long, conflicts_with = "seconds")]
        planted: bool,
    },
    /// Run the simulator's scenarios over many seeds, or one again
    Sim(sim::Options),
    /// Run google/packetdrill's scripts, which the user has, against Sunstar's sockets or the kernel
    Packetdrill(packetdrill::Options),
    /// Run the tests of the crates with unsafe code under AddressSanitizer (needs the nightly toolchain)
    Asan,
    /// Run a benchmark
    #[command(disable_help_flag = true)]
    Bench {
        /// Which one, and its own options
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Test { list: true, .. } => {
            steps::list();
            Ok(())
        }
        Command::Test { steps, install, .. } => steps::run(&steps, install),
        Command::Tidy { bless } => tidy::command(bless),
        Command::Loom { filter, preemptions } => loom::run(filter.as_deref(), preemptions)?.all_passed(),
        Command::Planted { list: true, .. } => {
            planted::list();
            Ok(())
        }
        Command::Planted { names, .. } => planted::run(&names)?.all_passed(),
        Command::Soak { name, seconds, minutes, only } => {
            let seconds = minutes.map_or(seconds, |minutes| minutes.saturating_mul(60));
            soak::run(seconds, name.or(only).as_deref())?.all_passed()
        }
        Command::Fuzz { targets, planted: true, .. } => fuzz::run_planted(&targets),
        Command::Fuzz { targets, seconds, .. } => fuzz::run(seconds, &targets),
        Command::Sim(options) => sim::run(&options),
        Command::Packetdrill(options) => packetdrill::run(&options),
        Command::Asan => asan::run()?.all_passed(),
        Command::Bench { args } => bench::run(&args),
    }
}

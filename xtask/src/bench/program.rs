//! The programs that measure: built here, run one benchmark at a time.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::command::{cargo, program as command, read, run, target_dir};

/// Longer than any benchmark takes, even on a machine that others use.
const TIME_LIMIT: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A program with benchmarks in it.
#[derive(Clone, Debug)]
pub(super) struct Program {
    path: PathBuf,
}

/// A line of what a program prints.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Figure {
    pub(super) bench: String,
    pub(super) unit: String,
    /// The median within the process.
    pub(super) value: f64,
    /// The same of the fastest tenth of what was measured.
    pub(super) fastest_tenth: f64,
}

impl Program {
    /// Sunstar's.
    ///
    /// # Errors
    /// If it can't be built. So below.
    pub(super) fn sunstar() -> Result<Self> {
        Self::of_sunstar("sunstar-bench")
    }

    /// Sunstar's TCP.
    pub(super) fn sunstar_tcp() -> Result<Self> {
        Self::of_sunstar("sunstar-tcp")
    }

    fn of_sunstar(name: &str) -> Result<Self> {
        build_sunstar(&[name])?;
        Ok(Self { path: target_dir("release").join(name) })
    }

    /// The peers' and the floors'.
    pub(super) fn peers() -> Result<Self> {
        peers("sunstar-bench-peers", &[])
    }

    /// TCP of others. Without lwIP if its library isn't there.
    pub(super) fn tcp_peers() -> Result<Self> {
        let name = "sunstar-bench-peers-tcp";
        peers(name, &[]).or_else(|error| {
            println!("without lwIP, whose library (Debian's liblwip-dev) may be missing: {error:#}");
            peers(name, &["--no-default-features"])
        })
    }

    /// Who is measured, and what.
    ///
    /// # Errors
    /// If the program doesn't answer.
    pub(super) fn list(&self) -> Result<Vec<(String, String)>> {
        let words = |line: &str| line.split_once(' ').map(|(peer, bench)| (peer.to_owned(), bench.to_owned()));
        Ok(read(&mut self.command(&["--list"]))?.lines().filter_map(words).collect())
    }

    /// Runs one benchmark; most answer one figure, some several.
    ///
    /// # Errors
    /// If it fails, takes too long or answers nonsense.
    pub(super) fn run(&self, peer: &str, bench: &str, short: bool) -> Result<Vec<Figure>> {
        let mut measuring = self.command(&[peer, bench]);
        if short {
            measuring.arg("--short");
        }
        let mut child = measuring.stdout(Stdio::piped()).spawn().context("starting it")?;
        let deadline = Instant::now() + TIME_LIMIT;
        let status = loop {
            if let Some(status) = child.try_wait().context("waiting for it")? {
                break status;
            }
            if Instant::now() >= deadline {
                child.kill().context("ending it")?;
                child.wait().context("waiting for its end")?;
                bail!("no answer within {} s", TIME_LIMIT.as_secs());
            }
            sleep(LOOK_EVERY);
        };
        let mut output = String::new();
        child.stdout.take().context("its output")?.read_to_string(&mut output).context("reading its output")?;
        ensure!(status.success(), "ended with {status}");
        output.lines().map(|line| serde_json::from_str(line).with_context(|| format!("reading `{line}`"))).collect()
    }

    fn command(&self, args: &[&str]) -> Command {
        command(&self.path.to_string_lossy(), args)
    }
}

/// Builds programs of Sunstar's side into the `release` folder of the build directory. Each takes long to link.
///
/// # Errors
/// If they can't be built.
pub(super) fn build_sunstar(names: &[&str]) -> Result<()> {
    let names = names.iter().flat_map(|name| ["--bin", name]);
    build(cargo(&["build", "--profile", "bench", "--package", "sunstar-bench"]).args(names))
}

/// Builds a package of the peers' workspace.
fn peers(package: &str, more: &[&str]) -> Result<Program> {
    let folder = target_dir("peers");
    let arguments =
        ["build", "--release", "--locked", "--manifest-path", "bench/peers/Cargo.toml", "--package", package];
    build(cargo(&arguments).args(more).arg("--target-dir").arg(&folder))?;
    Ok(Program { path: folder.join("release").join(package) })
}

fn build(command: &mut Command) -> Result<()> {
    ensure!(run(command)?.success, "the benchmark program doesn't build");
    Ok(())
}

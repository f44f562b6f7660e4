//! A program while it measures or serves, and what it says.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::pair::Figures;
use crate::bench::namespace::bound;

/// Beyond the time for measuring, and as much for warming up, a run takes no longer.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a server says when a client may come. One whose device is to be connected to opens it before it listens.
const READY: [&str; 2] = ["listening", "waiting for a back end to connect"];

/// A program while it runs. Dropping it ends it.
pub(super) struct Process {
    child: Child,
    /// The lines of its log.
    log: Receiver<String>,
}

impl Process {
    /// Starts it; if it is to listen, waits until it says so.
    ///
    /// # Errors
    /// If it can't be started, or does not listen: what it said.
    pub(super) fn start(command: &Command, listens: bool) -> Result<Self> {
        let name = format!("{command:?}");
        let spawned = bound(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.with_context(|| format!("starting {name}"))?;
        let errors = BufReader::new(child.stderr.take().context("its errors are not piped")?);
        let (lines, log) = channel();
        // Nobody may be left who reads it.
        thread::spawn(move || errors.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        let process = Self { child, log };
        if listens {
            process.wait_until_it_listens().with_context(|| name)?;
        }
        Ok(process)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_it_listens(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        loop {
            match self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if READY.iter().any(|ready| line.contains(ready)) => return Ok(()),
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Timeout) => bail!("it does not listen: {}", said.join(" / ")),
                Err(RecvTimeoutError::Disconnected) => bail!("it has ended: {}", said.join(" / ")),
            }
        }
    }

    /// Waits until it has ended, which has so many seconds for measuring, and reads what it has printed.
    ///
    /// # Errors
    /// If it fails or takes too long: what it said last.
    pub(super) fn figures(mut self, seconds: &str) -> Result<Figures> {
        let measured = Duration::try_from_secs_f64(seconds.parse()?)?;
        let patience = 2 * measured + PATIENCE;
        let deadline = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < deadline, "no answer within {} s: {}", patience.as_secs(), self.last_words());
            sleep(LOOK_EVERY);
        };
        ensure!(status.success(), "{status}: {}", self.last_words());
        let mut output = String::new();
        self.child.stdout.take().context("its output")?.read_to_string(&mut output)?;
        serde_json::from_str(&output).with_context(|| format!("reading `{output}`"))
    }

    fn last_words(&self) -> String {
        let lines: Vec<String> = self.log.try_iter().collect();
        lines.last().cloned().unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that serves until it is told to end has nothing more to say.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

//! A program while it measures or serves, and what it says.

use std::io::{Read, Write};
use std::mem;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
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
pub(in crate::bench) struct Process {
    child: Child,
    /// What it says, in pieces as they come: its log, and what one prints that converses.
    said: Receiver<String>,
    /// What of that has been taken in.
    heard: String,
}

impl Process {
    /// Starts it; if it is to listen, waits until it says so.
    ///
    /// # Errors
    /// If it can't be started, or does not listen: what it said.
    pub(in crate::bench) fn start(command: &Command, listens: bool) -> Result<Self> {
        let (mut process, _) = Self::spawn(bound(command).stdout(Stdio::piped()), command)?;
        if listens {
            process.wait_for(&READY).with_context(|| format!("{command:?} does not listen"))?;
        }
        Ok(process)
    }

    /// Starts one that is told what to do line by line, and waits for its first prompt.
    ///
    /// # Errors
    /// If it can't be started, or has no prompt: what it said.
    pub(super) fn converse(command: &Command, prompt: &str) -> Result<Self> {
        let piped = &mut bound(command);
        let (mut process, pieces) = Self::spawn(piped.stdin(Stdio::piped()).stdout(Stdio::piped()), command)?;
        hear(process.child.stdout.take().context("its output is not piped")?, pieces);
        process.wait_for(&[prompt]).with_context(|| format!("{command:?} does not begin"))?;
        Ok(process)
    }

    fn spawn(bound: &mut Command, command: &Command) -> Result<(Self, Sender<String>)> {
        let spawned = bound.stderr(Stdio::piped()).spawn();
        let mut child = spawned.with_context(|| format!("starting {command:?}"))?;
        let (pieces, said) = channel();
        hear(child.stderr.take().context("its errors are not piped")?, pieces.clone());
        Ok((Self { child, said, heard: String::new() }, pieces))
    }

    pub(in crate::bench) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells one that converses a line, and answers what it says until its next prompt.
    ///
    /// # Errors
    /// If it has ended or has no prompt: what it said.
    pub(super) fn ask(&mut self, line: &str, prompt: &str) -> Result<String> {
        self.heard.clear();
        let input = self.child.stdin.as_mut().context("it is told nothing")?;
        let told = writeln!(input, "{line}");
        told.map_err(Into::into)
            .and_then(|()| self.wait_for(&[prompt]))
            .with_context(|| format!("telling it {line}"))?;
        Ok(mem::take(&mut self.heard))
    }

    /// Waits until it has said one of these.
    fn wait_for(&mut self, texts: &[&str]) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !texts.iter().any(|text| self.heard.contains(text)) {
            match self.said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(piece) => self.heard.push_str(&piece),
                Err(RecvTimeoutError::Timeout) => bail!("it only says: {}", in_one_line(&self.heard)),
                Err(RecvTimeoutError::Disconnected) => bail!("it has ended: {}", in_one_line(&self.heard)),
            }
        }
        Ok(())
    }

    /// Waits until it has ended, which has so many seconds for measuring, and reads the figures that it has printed.
    ///
    /// # Errors
    /// If it fails or takes too long: what it said last.
    pub(super) fn figures(self, seconds: &str) -> Result<Figures> {
        let output = self.output(2 * Duration::try_from_secs_f64(seconds.parse()?)? + PATIENCE)?;
        serde_json::from_str(&output).with_context(|| format!("reading `{output}`"))
    }

    /// Waits so long at most until it has ended, and reads what it has printed.
    ///
    /// # Errors
    /// If it fails or takes too long: what it said last.
    pub(in crate::bench) fn output(mut self, patience: Duration) -> Result<String> {
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
        Ok(output)
    }

    fn last_words(&self) -> String {
        let said: String = self.said.try_iter().collect();
        said.lines().last().unwrap_or_default().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that serves until it is told to end has nothing more to say.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Passes on what somebody says: in pieces, since a prompt has no end of line.
fn hear(mut from: impl Read + Send + 'static, pieces: Sender<String>) {
    thread::spawn(move || {
        let mut bytes = [0; 4_096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            // Nobody may be left who reads it.
            if pieces.send(String::from_utf8_lossy(&bytes[..count]).into_owned()).is_err() {
                return;
            }
        }
    });
}

fn in_one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(" / ")
}

#[cfg(test)]
mod tests {
    use super::Process;
    use crate::command::{exists, program};

    #[test]
    fn who_converses_is_asked_line_by_line_and_tells_why_it_ends() {
        if !exists("setpriv") {
            return;
        }
        let script = "printf '> '; while read -r word; do [ \"$word\" = end ] && break; printf 'it is %s\\n> ' \"$word\"; done; echo bye >&2";
        let mut process = Process::converse(&program("sh", &["-c", script]), "> ").expect("it has a prompt");
        assert_eq!(process.ask("one", "> ").expect("it answers"), "it is one\n> ");
        assert_eq!(process.ask("two", "> ").expect("it answers"), "it is two\n> ");
        let error = format!("{:#}", process.ask("end", "> ").expect_err("it ends"));
        assert_eq!(error, "telling it end: it has ended: bye");
    }
}

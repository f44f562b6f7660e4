//! Other programs that load a server, and what they and the server cost.

use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sunstar_bench_http::cpu;

/// When something began, and what had been spent until then.
pub(super) struct Begin {
    at: Instant,
    server: Duration,
    client: Duration,
}

/// Seconds that have passed, and seconds of processors.
pub(super) struct Spent {
    pub(super) elapsed: f64,
    pub(super) server: f64,
    /// Of this program and those that it has started and that have ended.
    pub(super) client: f64,
}

impl Begin {
    /// Now, for a server of these processes.
    pub(super) fn now(server: &[u32]) -> Result<Self> {
        Ok(Self { at: Instant::now(), server: cpu::of_processes(server)?, client: of_clients()? })
    }

    /// What has been spent since.
    pub(super) fn end(&self, server: &[u32]) -> Result<Spent> {
        let elapsed = self.at.elapsed().as_secs_f64();
        let server = (cpu::of_processes(server)? - self.server).as_secs_f64();
        Ok(Spent { elapsed, server, client: (of_clients()? - self.client).as_secs_f64() })
    }
}

/// Runs a program to its good end; answers what it prints.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {text}{errors}", output.status);
    Ok(text)
}

fn of_clients() -> Result<Duration> {
    Ok(usage(libc::RUSAGE_SELF)? + usage(libc::RUSAGE_CHILDREN)?)
}

fn usage(who: libc::c_int) -> Result<Duration> {
    // SAFETY: the structure is plain data, and the kernel fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        let answer = libc::getrusage(who, &raw mut usage);
        ensure!(answer == 0, "getrusage: {}", io::Error::last_os_error());
        usage
    };
    let time = |value: libc::timeval| -> Result<Duration> {
        Ok(Duration::from_secs(value.tv_sec.try_into()?) + Duration::from_micros(value.tv_usec.try_into()?))
    };
    Ok(time(usage.ru_utime)? + time(usage.ru_stime)?)
}

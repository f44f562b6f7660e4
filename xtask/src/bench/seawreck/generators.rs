//! Load generators at httpd, in rounds.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::table::Table;
use super::{Contest, LOAD_CPU, Options, SERVER_CPU};
use crate::bench::http::server::Server;
use crate::bench::noise::Watch;
use crate::command::{exists, program, read, target_dir};

/// Who loads the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Generator {
    Bare,
    SeawreckEpoll,
    SeawreckUring,
    Wrk,
    H2load,
}

impl Generator {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare epoll client",
            Self::SeawreckEpoll => "seawreck epoll",
            Self::SeawreckUring => "seawreck io_uring",
            Self::Wrk => "wrk",
            Self::H2load => "h2load",
        }
    }

    /// What `generators` calls it.
    fn word(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::SeawreckEpoll => "seawreck-epoll",
            Self::SeawreckUring => "seawreck-uring",
            Self::Wrk => "wrk",
            Self::H2load => "h2load",
        }
    }

    fn is_here(self) -> bool {
        !matches!(self, Self::Wrk | Self::H2load) || exists(self.word())
    }
}

/// What `generators` prints.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Figures {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    pub(super) server_us: f64,
    pub(super) server_busy: f64,
    pub(super) client_us: f64,
    pub(super) client_busy: f64,
    /// Latencies at 50, 90 and 99 of a hundred, and the same as wrk shows them.
    pub(super) latencies_us: Option<[f64; 3]>,
    pub(super) corrected_us: Option<[f64; 3]>,
    pub(super) is_saturated: bool,
}

/// Measures all rounds, and answers the table for people.
///
/// # Errors
/// If the server or a load generator fails.
pub(super) fn contest(contest: Contest, options: &Options) -> Result<String> {
    let generators: Vec<Generator> =
        contest.generators().iter().copied().filter(|generator| generator.is_here()).collect();
    let mut table = Table::new(contest, &generators);
    for round in 0..options.rounds as usize {
        let watch = Watch::start();
        for place in 0..generators.len() {
            let generator = generators[(round + place) % generators.len()];
            let figures = measure(contest, generator, options.seconds)
                .with_context(|| format!("{} in {}", generator.name(), contest.name()))?;
            println!("{:<8} {:<20} {figures:?}", contest.name(), generator.name());
            table.add(generator, figures);
        }
        let others = watch.cores_used_by_others();
        println!("{} round {}: others used {others:.2} cores", contest.name(), round + 1);
        table.add_noise(others);
    }
    Ok(table.markdown())
}

fn measure(contest: Contest, generator: Generator, seconds: u32) -> Result<Figures> {
    let server = if contest == Contest::Delayed { Server::delayed(SERVER_CPU) } else { Server::httpd(SERVER_CPU) }?;
    let (release, pids) = (target_dir("release"), server.pids()?);
    let mut command = program(&release.join("generators").to_string_lossy(), &[generator.word()]);
    command.arg("--seawreck").arg(release.join("seawreck"));
    command.args(["--address", &server.address().to_string(), "--pids", &pids, "--seconds", &seconds.to_string()]);
    command.args(["--cpu", &LOAD_CPU.to_string(), "--connections", &contest.connections().to_string()]);
    if let Some(rate) = contest.rate() {
        command.args(["--rate", &rate.to_string()]);
    }
    let output = read(&mut command)?;
    server.stop()?;
    serde_json::from_str(&output).with_context(|| format!("reading `{output}`"))
}

//! Clients that have sent half of a head and stay, beside those that ask at a moderate rate.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::peer::Peer;
use super::server::{HEAD_TIMEOUT, Server};
use super::{LOAD_CPU, Load, Options, SERVER_CPU};
use crate::bench::noise::{NOISY_CORES, Watch};
use crate::bench::statistics::median;
use crate::command::{program, read, target_dir};

/// Connections that stay within a head.
const HALF_SENT: usize = 2000;

/// So much of a median or of a 99th percentile may be added by them.
const BAR: f64 = 1.5;

/// The server ends none before the load client has measured.
const SPARE: Duration = Duration::from_millis(500);

/// Within this time the metrics are answered.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the load client prints.
#[derive(Debug, Deserialize)]
struct Outcome {
    without: Latencies,
    opening: Latencies,
    with: Latencies,
    ending: Latencies,
    ended: usize,
    last_seconds: f64,
}

#[derive(Debug, Deserialize)]
struct Latencies {
    p50_us: f64,
    p99_us: f64,
    p99_of_all_us: f64,
}

/// The figures of one server and round.
struct Round {
    outcome: Outcome,
    /// How many the server's metrics count as ended by the limit for heads, if it has such.
    counted: Option<u64>,
}

/// Measures in interleaved rounds, and answers the table for people.
///
/// # Errors
/// If a server or the load client fails, or a measurement takes longer than heads may.
pub(super) fn contest(options: &Options) -> Result<String> {
    let longest = (HEAD_TIMEOUT - SPARE).as_secs_f64();
    ensure!(
        options.seconds <= longest,
        "half-sent heads stay for {HEAD_TIMEOUT:?}: --seconds must be {longest} at most"
    );
    let peers = [Peer::Nginx, Peer::IoUring, Peer::Epoll];
    let mut rounds: [Vec<Round>; 3] = Default::default();
    let mut noise = Vec::new();
    for number in 0..options.rounds as usize {
        let watch = Watch::start();
        for turn in 0..peers.len() {
            let index = (number + turn) % peers.len();
            let round = measure(&peers[index], options.seconds)
                .with_context(|| format!("{} under {}", peers[index].name(), Load::HalfSent.name()))?;
            println!("half-sent  {:<20} {:?}", peers[index].name(), round.outcome);
            rounds[index].push(round);
        }
        noise.push(watch.cores_used_by_others());
    }
    let noisy = noise.iter().filter(|&&cores| cores > NOISY_CORES).count();
    let worst = noise.iter().copied().fold(0.0, f64::max);
    let mut text = format!("\n## {} ({})\n\n", Load::HalfSent.name(), Load::HalfSent.about());
    writeln!(text, "Noisy rounds: {noisy} of {}, at worst {worst:.2} cores used by others.\n", noise.len())?;
    let peers_and_rounds = || peers.iter().zip(&rounds);
    text.push_str("| server | p50 µs without | with | ratio | met | p99 µs without | with | ratio | met |\n");
    text.push_str("|---|---|---|---|---|---|---|---|---|\n");
    for (peer, rounds) in peers_and_rounds() {
        let (p50, p99) = (cell(rounds, |figures| figures.p50_us), cell(rounds, |figures| figures.p99_us));
        writeln!(text, "| {} | {p50} | {p99} |", peer.name())?;
    }
    writeln!(
        text,
        "\nOf each 0.1 s a percentile, and of these the median: what others do on the machine now and then is in few of them. The bar: \
         {BAR} times as much at most, as the median of the rounds' ratios.\n"
    )?;
    write_bursts(&mut text, peers_and_rounds())?;
    write_ends(&mut text, peers_and_rounds())?;
    Ok(text)
}

/// The medians without and with, that of the ratios, and whether it meets the bar.
fn cell(rounds: &[Round], value: fn(&Latencies) -> f64) -> String {
    let (without, with) = (middle(rounds, |o| value(&o.without)), middle(rounds, |o| value(&o.with)));
    let ratio = middle(rounds, |o| value(&o.with) / value(&o.without));
    let met = if ratio <= BAR { "yes" } else { "**no**" };
    format!("{without:.1} | {with:.1} | {ratio:.2} | {met}")
}

/// The median over rounds; there is one at least.
fn middle(rounds: &[Round], value: impl Fn(&Outcome) -> f64) -> f64 {
    median(rounds.iter().map(|round| value(&round.outcome)).collect()).unwrap_or(f64::NAN)
}

/// What it is like while they come and while they are ended: bursts of work at once, which have no bar.
fn write_bursts<'a>(text: &mut String, all: impl Iterator<Item = (&'a Peer, &'a Vec<Round>)>) -> Result<()> {
    text.push_str("| server | p99 µs while they are opened | while they are ended | of all without | of all with |\n|---|---|---|---|---|\n");
    for (peer, rounds) in all {
        let cells = [
            middle(rounds, |o| o.opening.p99_us),
            middle(rounds, |o| o.ending.p99_us),
            middle(rounds, |o| o.without.p99_of_all_us),
            middle(rounds, |o| o.with.p99_of_all_us),
        ];
        writeln!(text, "| {} | {} |", peer.name(), cells.map(|value| format!("{value:.1}")).join(" | "))?;
    }
    text.push('\n');
    Ok(())
}

fn write_ends<'a>(text: &mut String, all: impl Iterator<Item = (&'a Peer, &'a Vec<Round>)>) -> Result<()> {
    text.push_str("| server | half-sent | ended by the server | after s at most | counted by its metrics |\n|---|---|---|---|---|\n");
    for (peer, rounds) in all {
        let ended = rounds.iter().map(|round| round.outcome.ended).min().unwrap_or_default();
        let last = rounds.iter().map(|round| round.outcome.last_seconds).fold(0.0, f64::max);
        let counted = rounds.iter().filter_map(|round| round.counted).min();
        let counted = counted.map_or_else(|| "–".to_owned(), |count| count.to_string());
        writeln!(text, "| {} | {HALF_SENT} | {ended} | {last:.1} | {counted} |", peer.name())?;
    }
    writeln!(text, "\nHeads have {} s. Of several rounds the worst counts.", HEAD_TIMEOUT.as_secs())?;
    Ok(())
}

fn measure(peer: &Peer, seconds: f64) -> Result<Round> {
    let server = Server::start(peer, Load::HalfSent, SERVER_CPU)?;
    let client = target_dir("release").join("http-load");
    let mut command = program(&client.to_string_lossy(), &["half-sent"]);
    command.args(["--address", &server.address().to_string(), "--connections", Load::HalfSent.connections()]);
    command.args(["--half-sent", &HALF_SENT.to_string(), "--seconds", &seconds.to_string()]);
    command.args(["--cpu", &LOAD_CPU.to_string()]);
    let output = read(&mut command)?;
    let outcome = serde_json::from_str(&output).with_context(|| format!("reading `{output}`"))?;
    let counted = if matches!(peer, Peer::Nginx) { None } else { Some(head_timeouts(server.address())?) };
    server.stop()?;
    Ok(Round { outcome, counted })
}

/// How many connections httpd has ended since a head took too long, by its metrics.
fn head_timeouts(address: SocketAddr) -> Result<u64> {
    let mut stream = TcpStream::connect(address).context("connecting")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).context("reading the metrics")?;
    let is_asked = |line: &&str| line.starts_with("sunstar_http_timeouts_total{") && line.contains("awaited=\"head\"");
    let line = text.lines().find(is_asked).with_context(|| format!("no count of timeouts in: {text}"))?;
    let count = line.rsplit(' ').next().and_then(|count| count.parse().ok());
    count.with_context(|| format!("no count in `{line}`"))
}

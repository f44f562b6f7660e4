//! Clients that have sent half of a head and stay, beside those that ask at a moderate rate.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::peer::Peer;
use super::server::{HEAD_TIMEOUT, Server};
use super::{Figures, Load, Options, SERVER_CPU, load};
use crate::bench::noise::{NOISY_CORES, Watch};
use crate::bench::statistics::median;

/// Connections that stay within a head.
const HALF_SENT: usize = 2000;

/// What they have sent.
const HALF_A_HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Ag";

/// So much of a median or of a 99th percentile may be added by them.
const BAR: f64 = 1.5;

/// Within this time after the limit they have ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// The figures of one server and round.
struct Round {
    without: Figures,
    with: Figures,
    /// How many were ended by the server, and when the last one was, from when it was opened.
    ended: usize,
    last: Duration,
    /// How many the server's metrics count as ended by the limit for heads, if it has such.
    counted: Option<u64>,
}

/// Measures in interleaved rounds, and answers the table for people.
///
/// # Errors
/// If a server or the load client fails, or a measurement takes longer than heads may.
pub(super) fn contest(options: &Options) -> Result<String> {
    let longest = HEAD_TIMEOUT.as_secs_f64() / 2.0;
    ensure!(options.seconds <= longest, "half-sent heads stay for {longest} s: --seconds must be less");
    let peers = [Peer::Nginx, Peer::IoUring, Peer::Epoll];
    let mut rounds: [Vec<Round>; 3] = Default::default();
    let mut noise = Vec::new();
    for number in 0..options.rounds as usize {
        let watch = Watch::start();
        for turn in 0..peers.len() {
            let index = (number + turn) % peers.len();
            let round = measure(&peers[index], number % 2 == 1, options.seconds)
                .with_context(|| format!("{} under {}", peers[index].name(), Load::HalfSent.name()))?;
            println!("half-sent  {:<20} without {:?} with {:?}", peers[index].name(), round.without, round.with);
            rounds[index].push(round);
        }
        noise.push(watch.cores_used_by_others());
    }
    let noisy = noise.iter().filter(|&&cores| cores > NOISY_CORES).count();
    let worst = noise.iter().copied().fold(0.0, f64::max);
    let mut text = format!("\n## {} ({})\n\n", Load::HalfSent.name(), Load::HalfSent.about());
    writeln!(text, "Noisy rounds: {noisy} of {}, at worst {worst:.2} cores used by others.\n", noise.len())?;
    text.push_str(
        "| server | p50 µs without | p50 µs with | ratio | met | p99 µs without | p99 µs with | ratio | met |\n",
    );
    text.push_str("|---|---|---|---|---|---|---|---|---|\n");
    for (peer, rounds) in peers.iter().zip(&rounds) {
        let cells = [|figures: &Figures| figures.p50_us, |figures: &Figures| figures.p99_us];
        let cells: Option<Vec<String>> = cells.into_iter().map(|value| cell(rounds, value)).collect();
        writeln!(text, "| {} | {} |", peer.name(), cells.context("a load without latencies")?.join(" | "))?;
    }
    writeln!(text, "\nThe bar: {BAR} times as much at most, as the median of the rounds' ratios.\n")?;
    text.push_str("| server | half-sent | ended by the server | after s at most | counted by its metrics |\n|---|---|---|---|---|\n");
    for (peer, rounds) in peers.iter().zip(&rounds) {
        let ended = rounds.iter().map(|round| round.ended).min().unwrap_or_default();
        let last = rounds.iter().map(|round| round.last).max().unwrap_or_default().as_secs_f64();
        let counted = rounds.iter().filter_map(|round| round.counted).min();
        let counted = counted.map_or_else(|| "–".to_owned(), |count| count.to_string());
        writeln!(text, "| {} | {HALF_SENT} | {ended} | {last:.1} | {counted} |", peer.name())?;
    }
    writeln!(text, "\nHeads have {} s. Of several rounds the worst counts.", HEAD_TIMEOUT.as_secs())?;
    Ok(text)
}

/// The medians without and with, that of the ratios, and whether it meets the bar.
fn cell(rounds: &[Round], value: fn(&Figures) -> Option<f64>) -> Option<String> {
    let of = |figures: fn(&Round) -> &Figures| rounds.iter().map(|round| value(figures(round))).collect::<Option<_>>();
    let (without, with): (Vec<f64>, Vec<f64>) = (of(|round| &round.without)?, of(|round| &round.with)?);
    let ratio = median(with.iter().zip(&without).map(|(with, without)| with / without).collect())?;
    let met = if ratio <= BAR { "yes" } else { "**no**" };
    Some(format!("{:.1} | {:.1} | {ratio:.2} | {met}", median(without)?, median(with)?))
}

fn measure(peer: &Peer, with_first: bool, seconds: f64) -> Result<Round> {
    let server = Server::start(peer, Load::HalfSent, SERVER_CPU)?;
    let before = if with_first { None } else { Some(load(Load::HalfSent, &server, seconds)?) };
    let begin = Instant::now();
    let half_sent = (0..HALF_SENT).map(|_| half_send(server.address())).collect::<Result<Vec<_>>>()?;
    let with = load(Load::HalfSent, &server, seconds)?;
    ensure!(begin.elapsed() < HEAD_TIMEOUT, "the half-sent ones were gone before the measurement was over");
    let ended = half_sent.into_iter().filter_map(|stream| is_ended(stream).ok()).filter(|ended| *ended).count();
    let last = begin.elapsed();
    let counted = if matches!(peer, Peer::Nginx) { None } else { Some(head_timeouts(server.address())?) };
    let without = match before {
        Some(figures) => figures,
        None => load(Load::HalfSent, &server, seconds)?,
    };
    server.stop()?;
    Ok(Round { without, with, ended, last, counted })
}

fn half_send(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).context("connecting")?;
    stream.set_read_timeout(Some(HEAD_TIMEOUT + PATIENCE))?;
    stream.write_all(HALF_A_HEAD)?;
    Ok(stream)
}

/// Waits until the server has ended a connection; answers whether it has said nothing but that it took too long.
fn is_ended(mut stream: TcpStream) -> Result<bool> {
    let mut said = Vec::new();
    stream.read_to_end(&mut said)?;
    Ok(said.is_empty() || said.starts_with(b"HTTP/1.1 408 "))
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

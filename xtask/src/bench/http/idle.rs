//! Memory of connections that wait for their next request.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::peer::Peer;
use super::server::Server;
use super::{Load, SERVER_CPU};
use crate::command::program;

/// A process may open a few more descriptors on most machines.
pub(in crate::bench) const CONNECTIONS: u32 = 15_000;

/// Within this time a server has done what follows a response.
const SETTLE: Duration = Duration::from_secs(2);

/// Within this time a server has noticed that its connections are gone, and has given back what it gives back when nothing comes:
/// httpd does after a quiet second.
const QUIET: Duration = Duration::from_secs(5);

/// When the connections are gone, so much more than before may be left, and so much for each that there was.
const KEPT_BYTES: u64 = 1 << 20;
const KEPT_BYTES_EACH: u64 = 30;

/// No response takes so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a server has allocated before the first figure is taken, it has after so many requests.
const WARM_UP: u32 = 100;

/// Memory of the server's own, in bytes, and how many connections still answer.
pub(in crate::bench) struct Figures {
    pub(in crate::bench) before: u64,
    pub(in crate::bench) idle: u64,
    pub(in crate::bench) served: u64,
    pub(in crate::bench) after: u64,
}

/// Measures the servers one by one, and answers the table for people.
///
/// # Errors
/// If a server fails, or this process or the server may not open as many descriptors.
pub(super) fn contest() -> Result<String> {
    let mut text = format!("\n## {} ({CONNECTIONS} connections)\n\n", Load::Idle.name());
    text.push_str("| server | KiB before | KiB with them | bytes per connection, in all | growth for each ");
    text.push_str("| still served | KiB when they are gone | not given back |\n|---|---|---|---|---|---|---|---|\n");
    // Of a server that was just built, its own text is dirty until it is written.
    ensure!(program("sync", &[]).status()?.success(), "sync failed");
    let slack_kib = (KEPT_BYTES + KEPT_BYTES_EACH * u64::from(CONNECTIONS)) >> 10;
    let mut bar = None;
    let mut bars = String::new();
    for peer in [Peer::Nginx, Peer::IoUring, Peer::Epoll] {
        let Figures { before, idle, served, after } =
            measure(&peer).with_context(|| format!("{} under {}", peer.name(), Load::Idle.name()))?;
        let each = idle / u64::from(CONNECTIONS);
        let growth = idle.saturating_sub(before) / u64::from(CONNECTIONS);
        let kept = 100.0 * after.saturating_sub(before) as f64 / idle.saturating_sub(before).max(1) as f64;
        let (before, idle, after) = (before >> 10, idle >> 10, after >> 10);
        let name = peer.name();
        writeln!(text, "| {name} | {before} | {idle} | {each} | {growth} | {served} | {after} | {kept:.0} % |")?;
        // The first one is nginx.
        let limit = *bar.get_or_insert(each);
        if peer != Peer::Nginx {
            let mut judge = |what, demand, value, is_met| {
                let met = if is_met { "yes" } else { "**no**" };
                writeln!(bars, "| {what}, {name} | {demand} | {value} | {met} |")
            };
            judge("bytes per connection in all", format!("≤ {limit}, as nginx"), each, each <= limit)?;
            judge("still served", CONNECTIONS.to_string(), served, served == u64::from(CONNECTIONS))?;
            let limit = before + slack_kib;
            judge("KiB when they are gone", format!("≤ {limit}"), after, after <= limit)?;
        }
    }
    text.push_str("\nnginx has a part of each connection's memory from its start, so what counts is all that a server has with them.\n");
    text.push_str("\n| bar | demanded | measured | met |\n|---|---|---|---|\n");
    text.push_str(&bars);
    Ok(text)
}

fn measure(peer: &Peer) -> Result<Figures> {
    let server = Server::start(peer, Load::Idle, SERVER_CPU)?;
    let figures = memory(server.address(), &server.pids()?)?;
    server.stop()?;
    Ok(figures)
}

/// Looks at the memory of a server, whose processes are separated by commas, before, with and after the connections.
///
/// # Errors
/// If the server fails, or this process or the server may not open as many descriptors.
pub(in crate::bench) fn memory(address: SocketAddr, pids: &str) -> Result<Figures> {
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let connect = || -> Result<TcpStream> {
        let mut stream = TcpStream::connect(address).context("connecting")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        ask(&mut stream, &request)?;
        Ok(stream)
    };
    let mut first = connect()?;
    (0..WARM_UP).try_for_each(|_| ask(&mut first, &request))?;
    drop(first);
    sleep(SETTLE);
    let before = own_bytes(pids)?;
    let mut streams = (0..CONNECTIONS).map(|_| connect()).collect::<Result<Vec<_>>>()?;
    sleep(SETTLE);
    let idle = own_bytes(pids)?;
    let served = streams.iter_mut().filter_map(|stream| ask(stream, &request).ok()).count() as u64;
    drop(streams);
    sleep(QUIET);
    let after = own_bytes(pids)?;
    Ok(Figures { before, idle, served, after })
}

/// Asks, and reads the response.
fn ask(stream: &mut TcpStream, request: &str) -> Result<()> {
    stream.write_all(request.as_bytes())?;
    let mut response = Vec::new();
    let mut piece = [0; 1024];
    while !response.windows(5).any(|window| window == b"world") {
        let count = stream.read(&mut piece).context("reading a response")?;
        ensure!(count > 0, "closed within a response: {}", response.escape_ascii());
        response.extend_from_slice(&piece[..count]);
    }
    Ok(())
}

/// Memory that no other process shares and that was written to, of all processes of the server.
fn own_bytes(pids: &str) -> Result<u64> {
    let mut sum = 0;
    for pid in pids.split(',') {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).with_context(|| format!("no sum in {path}"))?;
        sum += kib.parse::<u64>().with_context(|| format!("the sum in {path}"))? << 10;
    }
    Ok(sum)
}

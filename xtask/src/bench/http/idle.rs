//! Memory of connections that wait for their next request.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::peer::Peer;
use super::server::Server;
use super::{Load, SERVER_CPU};

/// A process may open a few more descriptors on most machines.
const CONNECTIONS: u32 = 15_000;

/// Within this time a server has done what follows a response, or the end of its connections.
const SETTLE: Duration = Duration::from_secs(2);

/// No response takes so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a server has allocated before the first figure is taken, it has after so many requests.
const WARM_UP: u32 = 100;

/// Memory of the server's own, in bytes, and how many connections still answer.
struct Figures {
    before: u64,
    idle: u64,
    served: usize,
    after: u64,
}

/// Measures the servers one by one, and answers the table for people.
///
/// # Errors
/// If a server fails, or this process or the server may not open as many descriptors.
pub(super) fn contest() -> Result<String> {
    let mut text = format!("\n## {} ({CONNECTIONS} connections)\n\n", Load::Idle.name());
    text.push_str(
        "| server | KiB before | KiB with them | bytes per connection | still served | KiB when they are gone | not given back |\n",
    );
    text.push_str("|---|---|---|---|---|---|---|\n");
    let mut bar = None;
    let mut bars = String::new();
    for peer in [Peer::Nginx, Peer::IoUring, Peer::Epoll] {
        let Figures { before, idle, served, after } =
            measure(&peer).with_context(|| format!("{} under {}", peer.name(), Load::Idle.name()))?;
        let each = idle.saturating_sub(before) / u64::from(CONNECTIONS);
        let kept = 100.0 * after.saturating_sub(before) as f64 / idle.saturating_sub(before).max(1) as f64;
        let (before, idle, after) = (before >> 10, idle >> 10, after >> 10);
        let name = peer.name();
        writeln!(text, "| {name} | {before} | {idle} | {each} | {served} | {after} | {kept:.0} % |")?;
        // The first one is nginx.
        let limit = *bar.get_or_insert(each);
        if peer != Peer::Nginx {
            let met = if each <= limit { "yes" } else { "**no**" };
            writeln!(bars, "| bytes per connection, {name} to nginx | ≤ {limit} | {each} | {met} |")?;
        }
    }
    text.push_str("\nnginx has 430 bytes for each connection from its start besides, which are not in its figure.\n");
    text.push_str("\n| bar | demanded | measured | met |\n|---|---|---|---|\n");
    text.push_str(&bars);
    Ok(text)
}

fn measure(peer: &Peer) -> Result<Figures> {
    let server = Server::start(peer, Load::Idle, SERVER_CPU)?;
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", server.address());
    let connect = || -> Result<TcpStream> {
        let mut stream = TcpStream::connect(server.address()).context("connecting")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        ask(&mut stream, &request)?;
        Ok(stream)
    };
    let mut first = connect()?;
    (0..WARM_UP).try_for_each(|_| ask(&mut first, &request))?;
    drop(first);
    sleep(SETTLE);
    let before = own_bytes(&server)?;
    let mut streams = (0..CONNECTIONS).map(|_| connect()).collect::<Result<Vec<_>>>()?;
    sleep(SETTLE);
    let idle = own_bytes(&server)?;
    let served = streams.iter_mut().filter_map(|stream| ask(stream, &request).ok()).count();
    drop(streams);
    sleep(SETTLE);
    let after = own_bytes(&server)?;
    server.stop()?;
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
fn own_bytes(server: &Server) -> Result<u64> {
    let mut sum = 0;
    for pid in server.pids()?.split(',') {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).with_context(|| format!("no sum in {path}"))?;
        sum += kib.parse::<u64>().with_context(|| format!("the sum in {path}"))? << 10;
    }
    Ok(sum)
}

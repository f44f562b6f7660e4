//! The server under load: what is asked, and what an answer looks like.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// Connects, and lets what is sent leave at once: no small segment waits for others, and the congestion control is one
/// that does not space segments out in time.
///
/// # Errors
/// If the server can't be reached, or the system has no such congestion control.
pub fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    let name = b"reno";
    let length = libc::socklen_t::try_from(name.len())?;
    // SAFETY: the kernel reads the name, whose length is given.
    let answer = unsafe {
        libc::setsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_CONGESTION, name.as_ptr().cast(), length)
    };
    ensure!(answer == 0, "TCP_CONGESTION: {}", io::Error::last_os_error());
    Ok(stream)
}

/// The request, as wrk sends it.
pub fn request(address: SocketAddr, path: &str, keep_alive: bool) -> Vec<u8> {
    let connection = if keep_alive { "" } else { "Connection: close\r\n" };
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{connection}\r\n").into_bytes()
}

/// Sends a batch of `depth` requests and answers the length of one whole response in bytes, which is the same for each: `Date` has a
/// fixed length.
///
/// # Errors
/// If the server can't be reached or its answer is not `200` with a `Content-Length`.
pub fn response_bytes(address: SocketAddr, batch: &[u8], depth: u16) -> Result<usize> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(batch)?;
    let mut response = Vec::new();
    let mut piece = [0_u8; 4096];
    loop {
        let count = stream.read(&mut piece).context("reading the first response")?;
        ensure!(count > 0, "the server closed before its response was whole: {}", response.escape_ascii());
        response.extend_from_slice(&piece[..count]);
        if let Some(length) = whole(&response)? {
            let all = length * usize::from(depth);
            ensure!(response.len() <= all, "more responses than requests");
            if response.len() == all {
                return Ok(length);
            }
        }
    }
}

/// The length of a response, once all of it is there.
fn whole(response: &[u8]) -> Result<Option<usize>> {
    let Some(end) = response.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&response[..end]).context("the head of the response")?;
    ensure!(is_good(response), "not a 200: {head}");
    for line in head.lines() {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            let length = end + 4 + value.trim().parse::<usize>().context("Content-Length")?;
            return Ok((response.len() >= length).then_some(length));
        }
    }
    bail!("no Content-Length in: {head}")
}

/// Whether this begins as a good response does.
pub fn is_good(response: &[u8]) -> bool {
    response.starts_with(b"HTTP/1.1 200 ")
}

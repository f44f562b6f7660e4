//! Connections that are opened at a fixed rate, one request on each, without and beside a flood of SYNs from addresses that nobody has.
//!
//! Both come from one thread, so that the flood takes no time from the clients but that which it takes to be sent.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde::Serialize;
use sunstar_bench_http::cpu;

use crate::at_once::{self, Connection, Poll, connect};
use crate::paced::Pace;
use crate::{Load, half_sent};

/// The addresses from which the flood comes are the first of so many: those that are for benchmarks (RFC 2544).
const STRANGERS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const STRANGER_BITS: u32 = 17;

/// So many SYNs are sent by one call, and no more before clients have their turn.
const BATCH: usize = 32;
const IP_BYTES: usize = 20;
const SYN_BYTES: usize = 60;

/// After the last request answers are waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// What came of it.
#[derive(Serialize)]
pub(crate) struct Outcome {
    without: Phase,
    with: Phase,
    /// Processor time of the server for each SYN of the flood, in microseconds: what it took beyond that without them.
    server_us_per_syn: f64,
}

/// What the clients saw meanwhile.
#[derive(Serialize)]
struct Phase {
    seconds: f64,
    asked: usize,
    served: usize,
    /// Refused, reset, or not served in time.
    failed: usize,
    /// From when a connection was due to its response, in microseconds.
    p50_us: f64,
    p99_us: f64,
    /// SYNs of the flood per second.
    syns_per_second: f64,
    /// Busy processors of the server.
    server_busy: f64,
}

/// Connects at `rate` for `seconds`, and again beside `syns` a second.
pub(crate) fn run(load: &Load<'_>, rate: u32, syns: u32, seconds: f64, pids: &[u32]) -> Result<Outcome> {
    let SocketAddr::V4(address) = load.address else { bail!("only for IPv4: {}", load.address) };
    let without = phase(load, address, rate, None, seconds, pids)?;
    let with = phase(load, address, rate, Some(Flood::new(address, syns)?), seconds, pids)?;
    let server_us_per_syn = (with.server_busy - without.server_busy) * 1e6 / with.syns_per_second;
    Ok(Outcome { without, with, server_us_per_syn })
}

fn phase(
    load: &Load<'_>,
    address: SocketAddrV4,
    rate: u32,
    mut flood: Option<Flood>,
    seconds: f64,
    pids: &[u32],
) -> Result<Phase> {
    let poll = Poll::new()?;
    let mut open: Vec<Option<Connection>> = Vec::new();
    let (mut ended, mut opened, mut latencies) = (at_once::Outcome::default(), Vec::new(), Vec::new());
    let (mut ready, mut left) = (Vec::new(), 0_usize);
    let (begin, cpu_before) = (Instant::now(), cpu::of_processes(pids)?);
    let end = begin + Duration::from_secs_f64(seconds);
    let mut pace = Pace::new(rate);
    while Instant::now() < end {
        if let Some(flood) = &mut flood {
            flood.send_due()?;
        }
        while let Some(due) = pace.due() {
            let connection = Connection::new(connect(address)?, due);
            poll.add(connection.descriptor(), open.len())?;
            open.push(Some(connection));
            left += 1;
        }
        poll.look(&mut ready)?;
        left -= take_in(load, &ready, &mut open, &mut ended, &mut opened, &mut latencies)?;
    }
    let (length, cpu) = (begin.elapsed().as_secs_f64(), cpu::of_processes(pids)? - cpu_before);
    while left > 0 && end.elapsed() < PATIENCE {
        poll.wait(&mut ready)?;
        left -= take_in(load, &ready, &mut open, &mut ended, &mut opened, &mut latencies)?;
    }
    let mut at = |share| half_sent::percentile(&mut latencies, share).map_or(0.0, |nanos| nanos as f64 / 1e3);
    Ok(Phase {
        seconds: length,
        asked: open.len(),
        served: ended.served,
        failed: open.len() - ended.served,
        p50_us: at(50),
        p99_us: at(99),
        syns_per_second: flood.map_or(0.0, |flood| flood.sent as f64 / length),
        server_busy: cpu.as_secs_f64() / length,
    })
}

/// Something has happened to connections; answers how many of them are over.
fn take_in(
    load: &Load<'_>,
    ready: &[usize],
    open: &mut [Option<Connection>],
    ended: &mut at_once::Outcome,
    opened: &mut Vec<u64>,
    latencies: &mut Vec<u64>,
) -> Result<usize> {
    let mut over = 0;
    for &index in ready {
        let Some(connection) = &mut open[index] else { continue };
        let served = ended.served;
        if connection.go_on(load, ended, opened)? {
            if ended.served > served {
                latencies.push(u64::try_from(connection.begun().elapsed().as_nanos())?);
            }
            open[index] = None;
            over += 1;
        }
    }
    Ok(over)
}

/// SYNs at a fixed rate.
struct Flood {
    socket: OwnedFd,
    to: SocketAddrV4,
    pace: Pace,
    packets: [[u8; SYN_BYTES]; BATCH],
    random: u64,
    sent: u64,
}

impl Flood {
    fn new(to: SocketAddrV4, rate: u32) -> Result<Self> {
        // SAFETY: a plain system call.
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_RAW) };
        ensure!(socket >= 0, "a raw socket, which needs CAP_NET_RAW: {}", io::Error::last_os_error());
        // SAFETY: the descriptor was just made and has no other owner.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        Ok(Self { socket, to, pace: Pace::new(rate), packets: [[0; SYN_BYTES]; BATCH], random: 1, sent: 0 })
    }

    /// Sends what is due, and no more than a batch.
    fn send_due(&mut self) -> Result<()> {
        let mut count = 0;
        while count < BATCH && self.pace.due().is_some() {
            let random = self.next_random();
            self.packets[count] = syn(random, self.to);
            count += 1;
        }
        if count == 0 {
            return Ok(());
        }
        let to = libc::sockaddr_in {
            sin_family: libc::sa_family_t::try_from(libc::AF_INET)?,
            sin_port: 0,
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(self.to.ip().octets()) },
            sin_zero: [0; 8],
        };
        let mut parts = self
            .packets
            .each_mut()
            .map(|packet| libc::iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: SYN_BYTES });
        let name_bytes = libc::socklen_t::try_from(size_of_val(&to))?;
        let mut messages = parts.each_mut().map(|part| {
            // SAFETY: all zeros are a message without anything.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_name = (&raw const to).cast_mut().cast();
            message.msg_hdr.msg_namelen = name_bytes;
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        });
        let vlen = libc::c_uint::try_from(count)?;
        // SAFETY: the first `count` messages name an address and bytes that outlive the call; the kernel reads those, and writes lengths
        // into the messages.
        let sent = unsafe { libc::sendmmsg(self.socket.as_raw_fd(), messages.as_mut_ptr(), vlen, libc::MSG_DONTWAIT) };
        match u64::try_from(sent) {
            Ok(sent) => self.sent += sent,
            Err(_) => {
                let error = io::Error::last_os_error();
                let is_full = matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN));
                ensure!(is_full, "sendmmsg: {error}");
            }
        }
        Ok(())
    }

    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random >> 8
    }
}

/// A packet that asks for a connection as Linux would. The kernel completes the IP header.
fn syn(random: u64, to: SocketAddrV4) -> [u8; SYN_BYTES] {
    const OPTIONS: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
    let [_, a, b, c, d, e, f, g] = random.to_be_bytes();
    let from = STRANGERS.to_bits() | (u32::from_be_bytes([0, a, b, c]) & ((1 << STRANGER_BITS) - 1));
    let mut packet = [0; SYN_BYTES];
    packet[0] = 0x45;
    packet[8..10].copy_from_slice(&[64, 6]);
    packet[12..16].copy_from_slice(&from.to_be_bytes());
    packet[16..20].copy_from_slice(&to.ip().octets());
    let tcp = &mut packet[IP_BYTES..];
    tcp[..2].copy_from_slice(&[d | 0x80, e]);
    tcp[2..4].copy_from_slice(&to.port().to_be_bytes());
    tcp[4..8].copy_from_slice(&[f, g, a, b]);
    // Ten words of header, SYN, and a window.
    tcp[12..16].copy_from_slice(&[10 << 4, 2, 0xff, 0xff]);
    tcp[20..].copy_from_slice(&OPTIONS);
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair[1]);
    // The addresses, the protocol and the length belong to it (RFC 9293 §3.1).
    let sum: u32 = packet[12..].chunks(2).map(word).sum::<u32>() + 6 + 40;
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    let [.., high, low] = (!folded).to_be_bytes();
    packet[36..38].copy_from_slice(&[high, low]);
    packet
}

//! Requests at a fixed rate, and beside them connections that send half of a head and wait for the server to end them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::Load;
use crate::paced::{Arrivals, Paced};

/// What they send.
const HALF_A_HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Ag";

/// Before anything is measured, and between what is.
const PAUSE: Duration = Duration::from_millis(100);
/// A percentile is that of such a time; see [`Latencies`].
const SLICE: Duration = Duration::from_millis(100);
/// So long after the last one was opened they are waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came of it.
#[derive(Serialize)]
pub(crate) struct Outcome {
    /// Before and after them.
    without: Latencies,
    /// While they were opened.
    opening: Latencies,
    /// While they waited.
    with: Latencies,
    /// While the server ended them.
    ending: Latencies,
    /// How many the server ended without a word or by 408.
    ended: usize,
    /// When the last one was ended, in seconds from when it was opened, or the one before it.
    last_seconds: f64,
}

/// Latencies in microseconds: the median over slices of each slice's percentile, and the percentile of all. What others do on the machine
/// now and then is in few of the slices. A time that is shorter than two slices is one.
#[derive(Serialize)]
struct Latencies {
    seconds: f64,
    p50_us: f64,
    p99_us: f64,
    p99_of_all_us: f64,
}

/// The connections that stay within a head.
struct HalfSent {
    /// Those that the server has not ended, with what it has said.
    open: Vec<Option<(TcpStream, Vec<u8>)>>,
    ended: usize,
    left: usize,
    first_end: Option<Instant>,
    last_end: Option<Instant>,
}

/// All connections, and what tells of them.
struct Run<'a> {
    arrivals: Arrivals,
    paced: Paced<'a>,
    half_sent: HalfSent,
    /// The paced ones; the numbers of the half-sent ones follow.
    connections: usize,
    ready: Vec<usize>,
}

/// Asks for all the time, opens `count` connections after `seconds`, waits until they have ended, and asks for `seconds` more.
pub(crate) fn run(load: &Load<'_>, rate: u32, count: usize, seconds: f64) -> Result<Outcome> {
    let seconds = Duration::from_secs_f64(seconds);
    let mut run = Run::new(load, rate, count)?;
    let before = window(Instant::now(), seconds);
    run.go_on_until(|_| Instant::now() >= before.end)?;
    let opening = Instant::now();
    // One in each turn, so that no request waits for more than one of them.
    for _ in 0..count {
        run.half_sent.open_one(load, &run.arrivals)?;
        run.turn()?;
    }
    let opening = opening..Instant::now();
    let with = window(opening.end, seconds);
    run.go_on_until(|_| Instant::now() >= with.end)?;
    ensure!(run.half_sent.first_end.is_none(), "half-sent heads were ended while there were to be all of them");
    run.go_on_until(|half_sent| half_sent.left == 0 || opening.end.elapsed() > PATIENCE)?;
    let over = Instant::now();
    let after = window(over, seconds);
    run.go_on_until(|_| Instant::now() >= after.end + PAUSE)?;
    let HalfSent { ended, first_end, last_end, .. } = run.half_sent;
    let ending = first_end.unwrap_or(over)..last_end.unwrap_or(over);
    let latencies = &run.paced.latencies;
    Ok(Outcome {
        without: Latencies::of(latencies, &[before, after])?,
        last_seconds: ending.end.duration_since(opening.start).as_secs_f64(),
        opening: Latencies::of(latencies, &[opening])?,
        with: Latencies::of(latencies, &[with])?,
        ending: Latencies::of(latencies, &[ending])?,
        ended,
    })
}

impl<'a> Run<'a> {
    fn new(load: &Load<'a>, rate: u32, count: usize) -> Result<Self> {
        let arrivals = Arrivals::new()?;
        let paced = Paced::new(load, rate, &arrivals)?;
        let half_sent = HalfSent::new(count);
        Ok(Self { arrivals, paced, half_sent, connections: load.connections, ready: Vec::new() })
    }

    fn go_on_until(&mut self, is_over: impl Fn(&HalfSent) -> bool) -> Result<()> {
        while !is_over(&self.half_sent) {
            self.turn()?;
        }
        Ok(())
    }

    /// Sends what is due, and takes in what has arrived.
    fn turn(&mut self) -> Result<()> {
        self.paced.ask()?;
        self.arrivals.take(&mut self.ready)?;
        for index in self.ready.drain(..) {
            match index.checked_sub(self.connections) {
                None => self.paced.take_in(index)?,
                Some(index) => self.half_sent.take_in(index)?,
            }
        }
        Ok(())
    }
}

/// What is measured after a pause.
fn window(from: Instant, time: Duration) -> Range<Instant> {
    from + PAUSE..from + PAUSE + time
}

impl HalfSent {
    fn new(count: usize) -> Self {
        Self { open: Vec::with_capacity(count), ended: 0, left: count, first_end: None, last_end: None }
    }

    fn open_one(&mut self, load: &Load<'_>, arrivals: &Arrivals) -> Result<()> {
        let mut stream = TcpStream::connect(load.address)?;
        ensure!(stream.write(HALF_A_HEAD)? == HALF_A_HEAD.len(), "half a head was not taken at once");
        stream.set_nonblocking(true)?;
        arrivals.watch(&stream, load.connections + self.open.len())?;
        self.open.push(Some((stream, Vec::new())));
        Ok(())
    }

    /// The server has said something, or has ended a connection.
    fn take_in(&mut self, index: usize) -> Result<()> {
        let Some((stream, said)) = &mut self.open[index] else { return Ok(()) };
        let is_well = match stream.read_to_end(said) {
            Ok(_) => said.is_empty() || said.starts_with(b"HTTP/1.1 408 "),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => return Err(error.into()),
        };
        self.open[index] = None;
        self.ended += usize::from(is_well);
        self.left -= 1;
        let now = Instant::now();
        self.first_end.get_or_insert(now);
        self.last_end = Some(now);
        Ok(())
    }
}

impl Latencies {
    fn of(latencies: &[(Instant, u64)], windows: &[Range<Instant>]) -> Result<Self> {
        let (mut p50, mut p99, mut all) = (Vec::new(), Vec::new(), Vec::new());
        let mut time = Duration::ZERO;
        for window in windows {
            let length = window.end.duration_since(window.start);
            time += length;
            let slices = u32::try_from((length.as_nanos() / SLICE.as_nanos()).max(1))?;
            for slice in 0..slices {
                let range = window.start + length * slice / slices..window.start + length * (slice + 1) / slices;
                let within = latencies.iter().filter(|(due, _)| range.contains(due));
                let mut within: Vec<u64> = within.map(|&(_, latency)| latency).collect();
                p50.extend(percentile(&mut within, 50));
                p99.extend(percentile(&mut within, 99));
                all.append(&mut within);
            }
        }
        let of = |values: &mut Vec<u64>, share| percentile(values, share).map(|nanos| nanos as f64 / 1e3);
        let figures = of(&mut p50, 50).zip(of(&mut p99, 50)).zip(of(&mut all, 99));
        let Some(((p50_us, p99_us), p99_of_all_us)) = figures else {
            return Ok(Self { seconds: 0.0, p50_us: 0.0, p99_us: 0.0, p99_of_all_us: 0.0 });
        };
        Ok(Self { seconds: time.as_secs_f64(), p50_us, p99_us, p99_of_all_us })
    }
}

/// The value below which so many of a hundred are.
pub(crate) fn percentile(values: &mut [u64], share: usize) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() * share / 100).copied()
}

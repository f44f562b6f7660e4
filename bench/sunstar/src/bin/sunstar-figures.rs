//! What TCP makes of a long fat line, and how fairly flows share it: the whole stack over simulated wires, in virtual time.
//!
//! The line carries 1 Gbit/s, a round trip takes 100 ms, and the queue before it holds one product of both; for fairness also 100 Mbit/s
//! and 40 ms. Flows that begin together do so within one round trip, and are measured for a minute. Losses are independent of each other, so
//! that a minute has few of them and seeds differ much: what is compared with its bar is the median. Arguments: how many seeds (4 by default), the first of them, and which
//! figures, if not all: `no-loss`, `1e-6`, `1e-5`, `1e-4`, `fair-100`, `fair-1000`.

use std::cell::Cell;
use std::env;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sunstar_device::Offloads;
use sunstar_executor::spawn;
use sunstar_executor::timer::sleep;
use sunstar_native::NetworkOptions;
use sunstar_net::{ListenerOptions, TcpListener, TcpStream};
use sunstar_packet::Buffer;
use sunstar_sim::{Chance, LanId, LinkOptions, NativeOptions, PortOptions, Random, Sim, SimOptions, resolve};
use sunstar_tcpip::tcp::connection;

/// A line whose queue holds one product of its rate and round trip.
#[derive(Clone, Copy)]
struct Line {
    mbits: u64,
    round_trip_ms: u64,
}

const LONG_FAT: Line = Line { mbits: 1_000, round_trip_ms: 100 };
const USUAL: Line = Line { mbits: 100, round_trip_ms: 40 };

impl Line {
    fn options(self) -> LinkOptions {
        let queue_bytes = usize::try_from(self.mbits * self.round_trip_ms * 125).expect("it is in memory");
        LinkOptions::line(self.mbits * 1_000_000, Duration::from_micros(self.round_trip_ms * 500), queue_bytes)
    }

    /// What it can carry of payload, in Mbit/s: 1,448 bytes of each frame of 1,514.
    fn payload(self) -> f64 {
        self.mbits as f64 * 1_448.0 / 1_514.0
    }
}

/// For so long flows are measured.
const SECONDS: u64 = 60;
/// After so long they have found their window, whatever slow start made of it.
const WARM_UP_SECONDS: u64 = 60;
const PORT: u16 = 5001;

/// What is handed over at once.
const CHUNK: &[u8] = &[0x5a; 64 << 10];

/// How many bytes each flow has brought, in the first minute, and in one after the beginning.
struct Run {
    first: Vec<u64>,
    steady: Vec<u64>,
    frames: u64,
    took: Duration,
}

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let mut number = |default: u64| arguments.next().map_or(default, |number| number.parse().expect("a number"));
    let (count, first) = (number(4), number(0));
    let wanted: Vec<_> = arguments.collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let seeds = first..first + count;
    let mut has_missed = is_wanted("no-loss") && !loss_free(first);
    for (name, per_million, expected) in [("1e-6", 1, 692.0), ("1e-5", 10, 123.0), ("1e-4", 100, 22.0)] {
        has_missed |= is_wanted(name) && !with_loss(seeds.clone(), per_million, expected);
    }
    for (name, line) in [("fair-100", USUAL), ("fair-1000", LONG_FAT)] {
        if is_wanted(name) {
            has_missed |= !two_flows(line, seeds.clone(), Duration::ZERO);
            // No bar: how fast CUBIC gives way follows from its curve.
            two_flows(line, seeds.clone(), Duration::from_secs(5));
        }
    }
    if has_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn loss_free(seed: u64) -> bool {
    let run = run(LONG_FAT, seed, Chance::NEVER, &[Duration::ZERO]);
    let share = mbits(run.first[0]) / LONG_FAT.payload();
    let is_met = share >= 0.95;
    println!(
        "no loss: {:.1} Mbit/s, {share:.3} of the line (bar: 0.95){}   {}",
        mbits(run.first[0]),
        verdict(is_met),
        run.cost()
    );
    is_met
}

fn with_loss(seeds: std::ops::Range<u64>, per_million: u32, expected: f64) -> bool {
    let runs: Vec<_> =
        seeds.map(|seed| run(LONG_FAT, seed, Chance::per_million(per_million), &[Duration::ZERO])).collect();
    let shares = |bytes: fn(&Run) -> u64| runs.iter().map(move |run| mbits(bytes(run)) / expected);
    let (first, steady) = (median(shares(|run| run.first[0])), median(shares(|run| run.steady[0])));
    let average = mean(shares(|run| run.steady[0]));
    let is_met = (0.9..=1.3).contains(&steady);
    let each: Vec<_> = runs.iter().map(|run| format!("{:.0}", mbits(run.steady[0]))).collect();
    println!(
        "loss {per_million}e-6: {:.1} Mbit/s, {steady:.2} of the response function (bar: 0.9 to 1.3){}; on average {average:.2}; {first:.2} with slow start; by seed {}   {}",
        steady * expected,
        verdict(is_met),
        each.join(" "),
        runs[0].cost()
    );
    is_met
}

fn two_flows(line: Line, seeds: std::ops::Range<u64>, apart: Duration) -> bool {
    // Nothing else on the line is left to chance.
    let jitter = |seed: u64| Duration::from_micros(Random::stream(seed, 0).below(line.round_trip_ms * 1_000));
    let runs: Vec<_> =
        seeds.map(|seed| run(line, seed, Chance::NEVER, &[Duration::ZERO, apart + jitter(seed)])).collect();
    let fairness = median(runs.iter().map(|run| jain(&run.first)));
    let steady = median(runs.iter().map(|run| jain(&run.steady)));
    let share = mean(runs.iter().map(|run| mbits(run.first.iter().sum()) / line.payload()));
    let is_met = fairness >= 0.95 || !apart.is_zero();
    println!(
        "two flows at {} Mbit/s, {} s apart: Jain's index {fairness:.3} in the first minute{}, {steady:.3} from {WARM_UP_SECONDS} s on; {share:.3} of the line   {}",
        line.mbits,
        apart.as_secs(),
        if apart.is_zero() { format!(" (bar: 0.95){}", verdict(is_met)) } else { String::new() },
        runs[0].cost()
    );
    is_met
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "" } else { " MISSED" }
}

impl Run {
    fn cost(&self) -> String {
        let seconds = self.took.as_secs_f64();
        format!("[{:.1} M frames on links in {seconds:.1} s]", self.frames as f64 / 1e6)
    }
}

fn mbits(bytes: u64) -> f64 {
    bytes as f64 * 8.0 / 1e6 / SECONDS as f64
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1);
    values.sum::<f64>() / count as f64
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { mean(values[middle - 1..=middle].iter().copied()) } else { values[middle] }
}

/// Jain's fairness index: 1 if all have the same.
fn jain(shares: &[u64]) -> f64 {
    let sum: f64 = shares.iter().map(|share| *share as f64).sum();
    let squares: f64 = shares.iter().map(|share| (*share as f64).powi(2)).sum();
    sum * sum / (shares.len() as f64 * squares)
}

/// Flows over a line that begin at these times, each from a host of its own, to one sink behind the line.
fn run(line: Line, seed: u64, loss: Chance, begins: &[Duration]) -> Run {
    let took = Instant::now();
    let mut sim = Sim::with_options(seed, SimOptions::default());
    let lans = [sim.lan(), sim.lan()];
    let line = line.options();
    let mut there = line.clone();
    there.loss = loss;
    sim.trunk(lans, there, line);
    let counts: Rc<[Cell<u64>]> = begins.iter().map(|_| Cell::new(0)).collect();
    let counted = Rc::clone(&counts);
    sim.native_background_host("sink", options(lans[1]), move || drain(Rc::clone(&counted)));
    for (flow, &begin) in begins.iter().enumerate() {
        sim.native_background_host(&format!("source-{flow}"), options(lans[0]), move || fill(begin));
    }
    let mut until = |seconds: u64| {
        let rest = Duration::from_secs(seconds).saturating_sub(sim.now() - sunstar_executor::Instant::ORIGIN);
        sim.run_for(rest).expect("nothing goes wrong");
        counts.iter().map(Cell::get).collect::<Vec<_>>()
    };
    let (warm, first, last) = (until(WARM_UP_SECONDS), until(SECONDS), until(SECONDS + WARM_UP_SECONDS));
    let steady = last.iter().zip(&warm).map(|(last, warm)| last - warm).collect();
    Run { first, steady, frames: sim.report().links.frames, took: took.elapsed() }
}

/// A host whose buffers are no bound, and whose device does what such devices do.
fn options(lan: LanId) -> NativeOptions {
    let mut port = PortOptions::new(lan);
    port.tx_offloads = Offloads { checksum: true, tso4: true, ..Offloads::NONE };
    port.verifies_checksums = true;
    port.ring_frames = 1 << 16;
    port.pool_frames = 1 << 16;
    let mut options = NativeOptions::new([port]);
    options.network = NetworkOptions::DEFAULT;
    options.network.tcp =
        connection::Options { max_receive_capacity: 64 << 20, max_send_capacity: 64 << 20, ..options.network.tcp };
    options
}

/// Counts what each flow brings; flows are told apart by their hosts.
async fn drain(counts: Rc<[Cell<u64>]>) {
    let address = ([0, 0, 0, 0], PORT).into();
    let mut listener = TcpListener::bind(address, ListenerOptions::default()).await.expect("the port is free");
    while let Ok(mut stream) = listener.accept().await {
        let from = stream.peer_address().ok();
        let flow = (0..counts.len())
            .find(|flow| resolve(&format!("source-{flow}")).map(Into::into) == from.map(|from| from.ip()));
        let (counts, flow) = (Rc::clone(&counts), flow.expect("it comes from one of them"));
        drop(spawn(async move {
            while let Ok(bytes) = stream.read().await
                && !bytes.is_empty()
            {
                counts[flow].set(counts[flow].get() + bytes.len() as u64);
            }
        }));
    }
}

/// Sends for ever.
async fn fill(begin: Duration) {
    sleep(begin).await;
    let sink = resolve("sink").expect("there is one");
    let mut stream = TcpStream::connect((sink, PORT).into()).await.expect("the sink listens");
    while stream.write(Buffer::from_static(CHUNK)).await.is_ok() {}
}

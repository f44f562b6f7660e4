//! How much TCP makes of a long fat line, and how fairly two flows share it: in virtual time, on the real stack.
//!
//! The line carries 1 Gbit/s, a round trip takes 100 ms, and the queue before it holds one product of both. Each figure is
//! compared with its bar.

use std::cell::Cell;
use std::env;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sunstar_device::Offloads;
use sunstar_executor::{spawn, timer};
use sunstar_native::NetworkOptions;
use sunstar_net::{ListenerOptions, TcpListener, TcpStream};
use sunstar_packet::Buffer;
use sunstar_sim::{Chance, LinkOptions, NativeOptions, PortOptions, Report, Sim, SimOptions, resolve};
use sunstar_tcpip::tcp::connection;

const RATE_BITS: u64 = 1_000_000_000;
const ONE_WAY: Duration = Duration::from_millis(50);
/// One product of rate and round trip.
const QUEUE_BYTES: usize = 12_500_000;
const TIME: Duration = Duration::from_secs(60);
const MSS: f64 = 1_460.0;
/// Payload of a full segment with timestamps, and the bytes of its frame.
const PAYLOAD_SHARE: f64 = 1_448.0 / 1_514.0;
const PORT: u16 = 5001;

/// Segments of so many bytes are handed over at once.
const CHUNK: &[u8] = &[0x5a; 64 << 10];

/// What a run has shown.
struct Run {
    /// Bytes that each flow has brought.
    bytes: Vec<u64>,
    report: Report,
    took: Duration,
}

fn options(port: PortOptions) -> NativeOptions {
    let mut options = NativeOptions::new([port]);
    options.network = NetworkOptions::DEFAULT;
    options.network.tcp = connection::Options {
        max_receive_capacity: 64 << 20,
        max_send_capacity: 64 << 20,
        ..options.network.tcp
    };
    options
}

/// Hosts whose devices do what real ones do for bulk.
fn port(lan: sunstar_sim::LanId) -> PortOptions {
    let mut port = PortOptions::new(lan);
    port.tx_offloads = Offloads { checksum: true, tso4: true, ..Offloads::NONE };
    port.verifies_checksums = true;
    port.ring_frames = 1 << 20;
    port.pool_frames = 1 << 16;
    port
}

/// Flows that begin one after the other, from one host to another, over the line.
fn run(seed: u64, loss: Chance, begins: &[Duration]) -> Run {
    let mut sim = Sim::with_options(seed, SimOptions::default());
    let lans = [sim.lan(), sim.lan()];
    let mut line = LinkOptions::line(RATE_BITS, ONE_WAY, QUEUE_BYTES);
    line.loss = loss;
    let back = LinkOptions::line(RATE_BITS, ONE_WAY, QUEUE_BYTES);
    sim.trunk(lans, line, back);
    let counts: Rc<[Cell<u64>]> = begins.iter().map(|_| Cell::new(0)).collect();
    let counted = Rc::clone(&counts);
    sim.native_background_host("sink", options(port(lans[1])), move || {
        let counts = Rc::clone(&counted);
        async move {
            let address = ([0, 0, 0, 0], PORT).into();
            let mut listener = TcpListener::bind(address, ListenerOptions::default()).await.expect("the port is free");
            for flow in 0.. {
                let mut stream = listener.accept().await.expect("the listener stays");
                let counts = Rc::clone(&counts);
                drop(spawn(async move {
                    while let Ok(bytes) = stream.read().await
                        && !bytes.is_empty()
                    {
                        counts[flow].set(counts[flow].get() + bytes.len() as u64);
                    }
                }));
            }
        }
    });
    for (flow, &begin) in begins.iter().enumerate() {
        sim.native_background_host(&format!("source-{flow}"), options(port(lans[0])), move || async move {
            timer::sleep(begin).await;
            let sink = resolve("sink").expect("there is one");
            let mut stream = TcpStream::connect((sink, PORT).into()).await.expect("the sink listens");
            while stream.write(Buffer::from_static(CHUNK)).await.is_ok() {}
        });
    }
    sim.host("clock", 1, || timer::sleep(TIME));
    let begin = Instant::now();
    sim.run_until(|sim| sim.now().as_nanos() >= u64::try_from(TIME.as_nanos()).unwrap_or(u64::MAX)).expect("all goes well");
    let bytes = counts.iter().map(Cell::get).collect();
    let report = sim.report();
    Run { bytes, report, took: begin.elapsed() }
}

fn main() {
    let seeds: u64 = env::args().nth(1).and_then(|seeds| seeds.parse().ok()).unwrap_or(1);
    for seed in 0..seeds {
        for (loss, expected) in [(0, 0.0), (1, 692.0), (10, 123.0), (100, 22.0)] {
            let run = run(seed, Chance::per_million(loss), &[Duration::ZERO]);
            show(&format!("loss {loss} ppm, seed {seed}"), &run, expected);
        }
        let run = run(seed, Chance::NEVER, &[Duration::ZERO, Duration::from_millis(500)]);
        show(&format!("two, seed {seed}"), &run, 0.0);
    }
}

fn show(what: &str, run: &Run, expected: f64) {
    let total: u64 = run.bytes.iter().sum();
    let mbits = total as f64 * 8.0 / 1e6 / TIME.as_secs_f64();
    let squares: f64 = run.bytes.iter().map(|bytes| (*bytes as f64).powi(2)).sum();
    let jain = (total as f64).powi(2) / (run.bytes.len() as f64 * squares);
    println!(
        "{what}: {mbits:.1} Mbit/s ({:.3} of the line, {:.3} of the response function), jain {jain:.4}, {:?}, {:?}, {:.2} M events/s, {:.2} s",
        mbits / 1e3 / PAYLOAD_SHARE,
        mbits / expected,
        run.bytes,
        run.report.links,
        run.report.links.frames as f64 / 1e6 / run.took.as_secs_f64(),
        run.took.as_secs_f64(),
    );
    let _ = MSS;
}

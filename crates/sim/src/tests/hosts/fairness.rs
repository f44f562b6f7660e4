//! Bulk flows that share one line, which is drawn: none of them is left with little.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::spawn;
use sunstar_executor::timer::{now, sleep};
use sunstar_tcpip::tcp::congestion::AlgorithmName;

use crate::tests::support::*;
use crate::{LinkOptions, NativeOptions, PortOptions, Random, Report, Sim, SimError, for_each_seed};

/// Few in the ordinary run; `cargo xtask sim` tries others.
#[test]
fn sim_sweep_fairness() {
    for_each_seed(0..4, world);
}

/// Flows begin within the first part of this, and have found their shares at its end.
const WARM_UP: Duration = Duration::from_secs(20);
const MEASURED: Duration = Duration::from_secs(60);

/// Jain's index at least: 1 if all have the same, the inverse of their number if one has all.
const LEAST_FAIRNESS: f64 = 0.85;
/// How much of the line all of them use at least.
const LEAST_USE: f64 = 0.8;

/// A line and those who share it. Their round trips take equally long: with others shares differ by design.
#[derive(Debug)]
struct Shape {
    rate_bits: u64,
    one_way: Duration,
    queue_bytes: usize,
    flows: usize,
    congestion: AlgorithmName,
}

impl Shape {
    fn drawn(random: &mut Random) -> Self {
        let rate_bits = random.between(1_000_000, 8_000_000);
        let one_way = Duration::from_micros(random.between(1_000, 40_000));
        // From three quarters of what is under way on the line to twice that, and a few segments.
        let under_way = usize::try_from(rate_bits / 8 * 2 * random.between(75, 200) / 100).expect("little");
        let queue_bytes = under_way * usize::try_from(one_way.as_micros()).expect("short") / 1_000_000;
        let congestion = if random.below(2) == 0 { AlgorithmName::Cubic } else { AlgorithmName::NewReno };
        Self { rate_bits, one_way, queue_bytes: queue_bytes + 24_000, flows: 2 + random.index(3), congestion }
    }
}

fn world(seed: u64) -> Result<Report, SimError> {
    let mut random = Random::stream(seed, 6_000);
    let shape = Shape::drawn(&mut random);
    let mut sim = Sim::new(seed);
    let lans = [sim.lan(), sim.lan()];
    let line = LinkOptions::line(shape.rate_bits, shape.one_way, shape.queue_bytes);
    sim.trunk(lans, line.clone(), line);
    let counts: Rc<[Cell<u64>]> = (0..shape.flows).map(|_| Cell::new(0)).collect();
    let counted = Rc::clone(&counts);
    sim.native_host("sink", NativeOptions::new([PortOptions::new(lans[1])]), move || sink(Rc::clone(&counted)));
    for flow in 0..shape.flows {
        let mut options = NativeOptions::new([PortOptions::new(lans[0])]);
        options.network.tcp.congestion = shape.congestion;
        let begin = Duration::from_micros(random.below(5_000_000));
        sim.native_background_host(&format!("source-{flow}"), options, move || async move {
            sleep(begin).await;
            let stream = connect(&at("sink", 80)).await.unwrap();
            while write(&stream, vec![b'x'; 16_384]).await.is_ok() {}
        });
    }
    sim.run_for(WARM_UP)?;
    counts.iter().for_each(|count| count.set(0));
    sim.run_for(MEASURED)?;
    let shares: Vec<f64> = counts.iter().map(|count| count.get() as f64).collect();
    let used = shares.iter().sum::<f64>() * 8.0 / (shape.rate_bits as f64 * MEASURED.as_secs_f64());
    let fairness = jain(&shares);
    assert!(used >= LEAST_USE, "{used:.3} of the line is in use: {shares:?} bytes, {shape:?}");
    assert!(fairness >= LEAST_FAIRNESS, "Jain's index is {fairness:.3}: {shares:?} bytes, {shape:?}");
    sim.run()
}

/// Jain's index of fairness.
pub(super) fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    sum * sum / (shares.len() as f64 * shares.iter().map(|share| share * share).sum::<f64>())
}

/// Reads all that comes, and counts it by flow.
async fn sink(counts: Rc<[Cell<u64>]>) {
    let end = now() + WARM_UP + MEASURED;
    let (listener, mut readers) = (listen(80), Vec::new());
    for flow in 0..counts.len() {
        let (stream, counts) = (accept(&listener).await, Rc::clone(&counts));
        readers.push(spawn(async move {
            while let Ok(bytes) = read(&stream).await
                && !bytes.is_empty()
            {
                counts[flow].set(counts[flow].get() + bytes.len() as u64);
            }
        }));
    }
    // The others are there until they are stopped.
    sleep(end - now()).await;
    for reader in readers {
        reader.abort();
        drop(reader.await);
    }
}

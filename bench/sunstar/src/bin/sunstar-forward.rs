//! Forwards packets between two vhost-user ports of which it is the back end, as a switch is for virtual machines, and tells what a packet
//! costs: `sunstar-forward SOCKET SOCKET SECONDS`. It listens at both sockets.
//!
//! What counts are the cycles of bursts that have found packets, from before they are received until they are sent, as testpmd of DPDK counts
//! them (`--record-core-cycles`). Nothing in the loop enters the kernel.

use std::collections::VecDeque;
use std::env;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant as Clock};

use sunstar_bench_common::cycles;
use sunstar_device::{BackOptions, Device, Queue, QueueError, VhostUserBack};
use sunstar_executor::Instant;
use sunstar_packet::{Packet, Pool, PoolOptions};

const NOW: Instant = Instant::ORIGIN;
const BURST: usize = 32;
/// So many rounds go by until it is looked at the clock again.
const ROUNDS: usize = 4_096;
/// Whoever is to send packets has so long to begin.
const PATIENCE: Duration = Duration::from_secs(20);
/// Nothing is counted for so long from the first packet on.
const WARM_UP: Duration = Duration::from_millis(200);
const FRAMES: PoolOptions = PoolOptions { frame_bytes: 2_048, headroom_bytes: 128, limit_frames: 8_192 };

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [one, other, seconds] = arguments.as_slice() else {
        eprintln!("usage: sunstar-forward SOCKET SOCKET SECONDS");
        return ExitCode::FAILURE;
    };
    match seconds.parse().map_err(Into::into).and_then(|seconds| run([one, other], seconds)) {
        Ok(sum) => {
            println!("{sum}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("sunstar-forward: {error}");
            ExitCode::FAILURE
        }
    }
}

type Error = Box<dyn std::error::Error>;

fn run(paths: [&str; 2], seconds: f64) -> Result<String, Error> {
    let time = Duration::try_from_secs_f64(seconds)?;
    let pool = Rc::new(Pool::new(FRAMES)?);
    let mut devices = Vec::new();
    for path in paths {
        devices.push(VhostUserBack::open(&BackOptions { is_server: true, ..BackOptions::new(path) })?);
    }
    let mut queues = Vec::new();
    for device in &mut devices {
        queues.push(device.take_queue(0)?.attach(Rc::clone(&pool))?);
    }
    eprintln!("listening");
    let mut forwarder = Forwarder { queues, packets: VecDeque::with_capacity(BURST), sum: Sum::default() };
    let begin = Clock::now();
    while forwarder.sum.packets == 0 {
        if begin.elapsed() > PATIENCE {
            return Err("nobody sends packets".into());
        }
        forwarder.turn()?;
    }
    forwarder.turn_for(WARM_UP)?;
    let lost = forwarder.lost();
    forwarder.sum = Sum::default();
    forwarder.turn_for(time)?;
    forwarder.sum.dropped += forwarder.lost() - lost;
    let counters: Vec<_> = forwarder.queues.iter().map(|queue| queue.counters()).collect();
    forwarder.sum.tell(counters.iter().map(|of| of.peer_errors + of.rx_malformed + of.tx_refused).sum(), time)
}

/// What was counted.
#[derive(Default)]
struct Sum {
    cycles: u64,
    packets: u64,
    bursts: u64,
    dropped: u64,
}

struct Forwarder {
    queues: Vec<Box<dyn Queue>>,
    packets: VecDeque<Packet>,
    sum: Sum,
}

impl Forwarder {
    /// What the devices have dropped.
    fn lost(&self) -> u64 {
        self.queues.iter().map(|queue| queue.counters().tx_dropped).sum()
    }

    fn turn_for(&mut self, time: Duration) -> Result<(), QueueError> {
        let begin = Clock::now();
        while begin.elapsed() < time {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), QueueError> {
        for _ in 0..ROUNDS {
            self.forward(0, 1)?;
            self.forward(1, 0)?;
        }
        Ok(())
    }

    /// Forwards a burst.
    fn forward(&mut self, from: usize, to: usize) -> Result<(), QueueError> {
        let begin = cycles::now();
        let count = self.queues[from].rx_burst(NOW, &mut self.packets, BURST)?;
        if count == 0 {
            return Ok(());
        }
        self.queues[to].tx_burst(NOW, &mut self.packets)?;
        // What there is no room for.
        self.sum.dropped += self.packets.len() as u64;
        self.packets.clear();
        self.sum.cycles += cycles::now().wrapping_sub(begin);
        self.sum.packets += count as u64;
        self.sum.bursts += 1;
        Ok(())
    }
}

impl Sum {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn tell(&self, errors: u64, time: Duration) -> Result<String, Error> {
        let Self { cycles, packets, bursts, dropped } = self;
        if errors > 0 {
            return Err(format!("{errors} packets or rings were refused").into());
        }
        if *packets == 0 {
            return Err("no packet came while it was measured".into());
        }
        let (each, burst) = (*cycles as f64 / *packets as f64, *packets as f64 / *bursts as f64);
        let rate = *packets as f64 / time.as_secs_f64();
        Ok(format!(r#"{{"cycles":{each:.2},"messages":{rate:.0},"burst":{burst:.1},"dropped":{dropped}}}"#))
    }
}

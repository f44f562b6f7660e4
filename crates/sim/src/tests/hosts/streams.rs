//! Streams over one bad line, whose ends wait for each other and for nothing else: nobody asks a second time, no application has a timeout,
//! and nothing keeps connections alive. So what is not woken, not sent again, or lost goes on for ever, and is found when the line is good again.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::spawn;
use sunstar_executor::timer::sleep;
use sunstar_net::StreamOption;

use crate::tests::support::*;
use crate::tests::sweep::{pattern, size};
use crate::{Chance, LanId, NativeOptions, Random, Report, Sim, SimError, SimOptions, for_each_seed_minimised};

const PORT: u16 = 7;

/// Few in the ordinary run; `cargo xtask sim` tries others.
#[test]
fn sim_sweep_streams() {
    for_each_seed_minimised(0..100, |seed, parts| world(seed, |what| parts.next(what)));
}

/// As long as the slowest lines need for what is sent, and the longest wait of TCP after a partition.
const PATIENCE: Duration = Duration::from_secs(600);

fn world(seed: u64, mut happens: impl FnMut(&str) -> bool) -> Result<Report, SimError> {
    let mut random = Random::stream(seed, 7_000);
    let mut sim = Sim::with_options(seed, SimOptions::drawn(seed));
    let lan = sim.lan();
    let server = options(&mut random, lan);
    sim.native_background_host("server", server, move || serve(Random::stream(seed, 7_001)));
    let client = options(&mut random, lan);
    let streams = random.between(1, 4);
    sim.native_host("client", client, move || async move {
        let streams: Vec<_> =
            (0..streams).map(|number| spawn(converse(Random::stream(seed, 7_100 + number)))).collect();
        for stream in streams {
            stream.await.expect("it does not panic");
        }
    });
    for number in 0..random.between(0, 4) {
        sim.run_for(Duration::from_micros(1 << random.between(10, 20)))?;
        let (kind, length) = (random.below(3), Duration::from_millis(random.between(100, 8_000)));
        if happens(&format!("partition {number}, kind {kind}, of {length:?}")) {
            match kind {
                0 => sim.partition(&["server"], &["client"]),
                1 => sim.partition_one_way(&["server"], &["client"]),
                _ => sim.partition_one_way(&["client"], &["server"]),
            }
            sim.run_for(length)?;
            sim.reunite(&["server"], &["client"]);
        }
    }
    sim.heal();
    sim.limit_time(PATIENCE);
    sim.run()
}

fn options(random: &mut Random, lan: LanId) -> NativeOptions {
    let mut options = NativeOptions::drawn(random, lan);
    for port in &mut options.ports {
        for link in [&mut port.up, &mut port.down] {
            link.overlap = Chance::per_million(1 << random.between(8, 18));
            // A buffer is emptied in some seconds.
            link.rate_bits = link.rate_bits.map(|rate| rate.max(1_000_000));
        }
    }
    options
}

/// Sends back what comes.
async fn serve(mut random: Random) {
    let listener = listen(PORT);
    loop {
        let stream = accept(&listener).await;
        let mut random = Random::stream(random.next_u64(), 0);
        drop(spawn(async move {
            loop {
                let bytes = read(&stream).await?;
                if bytes.is_empty() {
                    stream.shutdown();
                    return flush(&stream).await;
                }
                write(&stream, bytes).await?;
                dawdle(&mut random).await;
            }
        }));
    }
}

/// Sends bytes and reads what comes back: all of them, in order, and the end.
async fn converse(mut random: Random) {
    let stream = loop {
        // Who can't be found at first is looked for again.
        if let Ok(stream) = connect(&at("server", PORT)).await {
            break stream;
        }
        sleep(Duration::from_secs(1)).await;
    };
    stream.set_option(StreamOption::SendQueueBytes(1 << random.between(0, 16))).expect("it is open");
    let (key, bits) = (random.next_u64(), random.between(8, 18));
    let total = random.below(1 << bits);
    let read_bytes = Rc::new(Cell::new(0));
    let reader = spawn(read_back(Rc::clone(&stream), key, Rc::clone(&read_bytes), random.clone()));
    let mut sent = 0;
    while sent < total {
        let end = total.min(sent + 1 + size(&mut random, 15));
        let bytes: Vec<u8> = (sent..end).map(|at| pattern(key, at)).collect();
        write(&stream, bytes).await.expect("nobody ends it");
        sent = end;
        dawdle(&mut random).await;
    }
    stream.shutdown();
    reader.await.expect("it does not panic");
    assert_eq!(read_bytes.get(), total, "bytes came back");
}

async fn read_back(stream: Stream, key: u64, read_bytes: Rc<Cell<u64>>, mut random: Random) {
    loop {
        let bytes = read(&stream).await.expect("nobody ends it");
        if bytes.is_empty() {
            return;
        }
        for &byte in bytes.iter() {
            assert_eq!(byte, pattern(key, read_bytes.get()), "byte {} came back", read_bytes.get());
            read_bytes.set(read_bytes.get() + 1);
        }
        dawdle(&mut random).await;
    }
}

/// Now and then does something else, for so long that the window closes.
async fn dawdle(random: &mut Random) {
    if random.below(8) == 0 {
        sleep(Duration::from_millis(random.below(300))).await;
    }
}

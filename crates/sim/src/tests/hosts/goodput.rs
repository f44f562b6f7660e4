//! What comes through lines of all kinds: a table that is looked at when it changes.

use std::cell::Cell;
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::spawn;
use sunstar_executor::timer::now;

use crate::tests::support::*;
use crate::{Chance, LinkOptions, NativeOptions, PortOptions, Sim};

const RATE_BITS: u64 = 20_000_000;
const BYTES: usize = 1_000_000;
const LOSSES_PER_MILLION: [u32; 3] = [0, 5_000, 20_000];
const DELAYS_MS: [u64; 3] = [1, 10, 50];
const QUEUES_KIB: [usize; 3] = [8, 32, 128];

/// The variable by which the table is written anew.
const BLESS: &str = "SUNSTAR_SIM_BLESS";

/// A download by a line; what is lost is data and acknowledgements alike. In kbit/s.
fn goodput(loss: Chance, delay: Duration, queue_bytes: usize) -> u128 {
    let mut sim = Sim::new(1);
    let lans = [sim.lan(), sim.lan()];
    let mut line = LinkOptions::line(RATE_BITS, delay, queue_bytes);
    line.loss = loss;
    sim.trunk(lans, line.clone(), line);
    sim.native_background_host("server", NativeOptions::new([PortOptions::new(lans[0])]), || async {
        let listener = listen(80);
        let stream = accept(&listener).await;
        drop(spawn(async move {
            write(&stream, vec![b'x'; BYTES]).await?;
            stream.shutdown();
            flush(&stream).await
        }));
    });
    let took = Rc::new(Cell::new(Duration::ZERO));
    let taken = Rc::clone(&took);
    sim.native_host("client", NativeOptions::new([PortOptions::new(lans[1])]), move || {
        let taken = Rc::clone(&taken);
        async move {
            let begin = now();
            let stream = connect(&at("server", 80)).await.unwrap();
            assert_eq!(read_all(&stream).await.unwrap().len(), BYTES);
            taken.set(now() - begin);
        }
    });
    sim.run().unwrap();
    BYTES as u128 * 8 * 1_000_000 / took.get().as_nanos()
}

fn table() -> String {
    let mut table = format!(
        "Goodput in kbit/s of {BYTES} bytes over a line of {} kbit/s.\n\nloss %  one way ms |",
        RATE_BITS / 1_000
    );
    QUEUES_KIB.iter().for_each(|queue| write!(table, "  queue {queue:>3} KiB").unwrap());
    table += "\n";
    for loss in LOSSES_PER_MILLION {
        for delay in DELAYS_MS {
            write!(table, "{:>6.1} {delay:>11} |", f64::from(loss) / 10_000.0).unwrap();
            for queue in QUEUES_KIB {
                let figure = goodput(Chance::per_million(loss), Duration::from_millis(delay), queue << 10);
                write!(table, "{figure:>15}").unwrap();
            }
            table += "\n";
        }
    }
    table
}

/// The table is the same on every machine. When it changes, look whether for the better, and write it anew:
/// `cargo xtask sim --table`.
#[test]
fn goodput_table() {
    let table = table();
    if env::var_os(BLESS).is_some() {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/hosts/goodput.txt"), &table).unwrap();
        return;
    }
    assert!(table == include_str!("goodput.txt"), "the table is now:\n{table}");
}

//! What goes over the wires.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::fairness::jain;
use crate::tests::support::*;
use crate::{Chance, LinkCounters, LinkOptions, NativeOptions, PortOptions, Sim, SimOptions};

/// A world of a server and a client on one switch; the server's cable is the line.
fn transfer(seed: u64, line: LinkOptions, bytes: usize) -> (Duration, crate::Report) {
    let mut sim = Sim::with_options(seed, SimOptions::default());
    let lan = sim.lan();
    let mut port = PortOptions::new(lan);
    (port.up, port.down) = (line.clone(), line);
    let took = Rc::new(Cell::new(Duration::ZERO));
    let taken = Rc::clone(&took);
    sim.native_background_host("server", NativeOptions::new([port]), || async {
        let listener = listen(80);
        loop {
            let stream = accept(&listener).await;
            drop(sunstar_executor::spawn(async move {
                let bytes = read_all(&stream).await?;
                write(&stream, bytes).await?;
                flush(&stream).await
            }));
        }
    });
    sim.native_host("client", NativeOptions::new([PortOptions::new(lan)]), move || {
        let taken = Rc::clone(&taken);
        async move {
            let begin = sunstar_executor::timer::now();
            let stream = connect(&at("server", 80)).await.unwrap();
            write(&stream, vec![b'x'; bytes]).await.unwrap();
            stream.shutdown();
            assert_eq!(read_all(&stream).await.unwrap().len(), bytes);
            taken.set(sunstar_executor::timer::now() - begin);
        }
    });
    let report = sim.run().unwrap();
    (took.get(), report)
}

#[test]
fn a_line_takes_its_time_and_no_more() {
    // Both ways 1 MB at 8 Mbit/s, and a few round trips.
    let line = LinkOptions::line(8_000_000, Duration::from_millis(10), 1 << 20);
    let (took, report) = transfer(1, line, 1_000_000);
    assert!((2.0..2.4).contains(&took.as_secs_f64()), "{took:?}");
    assert_eq!(report.links.lost + report.links.overflowed + report.links.corrupted, 0);
}

#[test]
fn a_hostile_line_is_survived() {
    let percent = Chance::per_cent(1);
    let line = LinkOptions {
        loss: percent,
        duplication: percent,
        overlap: percent,
        reorder: percent,
        reorder_by: Duration::ZERO..=Duration::from_millis(5),
        corruption: percent,
        jitter: Duration::from_millis(1),
        ..LinkOptions::line(20_000_000, Duration::from_millis(2), 12_000)
    };
    let (_, report) = transfer(2, line, 1_000_000);
    let links = report.links;
    let LinkCounters { lost, duplicated, overlapping, reordered, corrupted, overflowed, .. } = links;
    for count in [lost, duplicated, overlapping, reordered, corrupted, overflowed] {
        assert!(count > 0, "{links:?}");
    }
    assert_eq!(transfer(2, LinkOptions::default(), 1_000).1, transfer(2, LinkOptions::default(), 1_000).1);
}

/// Jain's index over what two flows bring by one line in a minute, of which the second begins later.
fn fairness() -> f64 {
    let mut sim = Sim::new(1);
    let lans = [sim.lan(), sim.lan()];
    let line = LinkOptions::line(10_000_000, Duration::from_millis(10), 50_000);
    sim.trunk(lans, line.clone(), line);
    let counts: Rc<[Cell<u64>; 2]> = Rc::default();
    let counted = Rc::clone(&counts);
    sim.native_background_host("sink", NativeOptions::new([PortOptions::new(lans[1])]), move || {
        let counts = Rc::clone(&counted);
        async move {
            let listener = listen(80);
            for flow in 0..2 {
                let (stream, counts) = (accept(&listener).await, Rc::clone(&counts));
                drop(sunstar_executor::spawn(async move {
                    while let Ok(bytes) = read(&stream).await {
                        counts[flow].set(counts[flow].get() + bytes.len() as u64);
                    }
                }));
            }
            sunstar_executor::timer::sleep(Duration::from_secs(3_600)).await;
        }
    });
    for flow in 0..2 {
        let options = NativeOptions::new([PortOptions::new(lans[0])]);
        sim.native_background_host(&format!("source-{flow}"), options, move || async move {
            sunstar_executor::timer::sleep(Duration::from_secs(flow)).await;
            let stream = connect(&at("sink", 80)).await.unwrap();
            while write(&stream, vec![b'x'; 16_384]).await.is_ok() {}
        });
    }
    sim.run_for(Duration::from_secs(60)).unwrap();
    let shares = [counts[0].get(), counts[1].get()].map(|bytes| bytes as f64);
    assert!(shares.iter().sum::<f64>() * 8.0 > 0.9 * 600e6, "the line is in use: {shares:?}");
    jain(&shares)
}

#[test]
fn flows_share_fairly() {
    let fairness = fairness();
    assert!(fairness >= 0.95, "Jain's index is {fairness:.3}");
}

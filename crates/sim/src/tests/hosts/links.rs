//! What goes over the wires.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::tests::support::*;
use crate::{Chance, LinkOptions, NativeOptions, PortOptions, Sim, SimOptions};

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
        reorder: percent,
        reorder_by: Duration::ZERO..=Duration::from_millis(5),
        corruption: percent,
        jitter: Duration::from_millis(1),
        ..LinkOptions::line(20_000_000, Duration::from_millis(2), 20_000)
    };
    let (_, report) = transfer(2, line, 1_000_000);
    let links = report.links;
    for count in [links.lost, links.duplicated, links.reordered, links.corrupted, links.overflowed] {
        assert!(count > 0, "{links:?}");
    }
    assert_eq!(transfer(2, LinkOptions::default(), 1_000).1, transfer(2, LinkOptions::default(), 1_000).1);
}

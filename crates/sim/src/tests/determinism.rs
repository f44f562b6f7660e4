//! The same seed gives the same trace.

use std::cell::RefCell;
use std::env;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use super::support::*;
use super::sweep;
use crate::{Report, Sim, SimOptions};

/// A scenario with its trace as text.
fn traced(seed: u64) -> (Report, Vec<String>) {
    let lines = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&lines);
    let report =
        sweep::world(seed, move |sim| sim.trace_to(move |line| sink.borrow_mut().push(line.to_owned()))).unwrap();
    (report, lines.take())
}

#[test]
fn a_seed_gives_the_same_trace_again_and_another_gives_another() {
    // What was allocated and freed before must not matter.
    let (first, lines) = traced(17);
    let clutter: Vec<_> = (0..1000).map(|size| vec![0_u8; size]).step_by(3).collect();
    let (second, lines_again) = traced(17);
    drop(clutter);
    assert_eq!(first, second);
    assert!(lines.len() > 1000 && lines == lines_again);
    let (other, _) = traced(18);
    assert_ne!(first.digest, other.digest);
}

/// The variable by which a process tells another of the same program to say its digest and no more.
const SAY_DIGEST: &str = "SUNSTAR_SIM_SAY_DIGEST";

#[test]
fn another_process_has_the_same_trace() {
    let digest = sweep::world(19, |_| ()).unwrap().digest;
    if env::var_os(SAY_DIGEST).is_some() {
        println!("digest {digest:016x}");
        return;
    }
    let name = "tests::determinism::another_process_has_the_same_trace";
    for _ in 0..3 {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", name, "--nocapture"]).env(SAY_DIGEST, "1");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(&format!("digest {digest:016x}")), "{said}");
    }
}

/// A scenario that depends on little but the network: rounds take no time, and what they do is not looked at.
fn small_trace(seed: u64) -> String {
    let options = SimOptions { round_cost: Duration::ZERO..=Duration::ZERO, ..SimOptions::default() };
    let sim = Sim::with_options(seed, options);
    let lines = Rc::new(RefCell::new(String::new()));
    let sink = Rc::clone(&lines);
    sim.trace_to(move |line| {
        if !line.contains(" round ") {
            *sink.borrow_mut() += line;
            *sink.borrow_mut() += "\n";
        }
    });
    let server = || async {
        let stream = accept(&listen(80)).await;
        let bytes = read_all(&stream).await.unwrap();
        write(&stream, bytes).await.unwrap();
    };
    let client = || async {
        let stream = connect(&at("server", 80)).await.unwrap();
        write(&stream, vec![b'x'; 40_000]).await.unwrap();
        stream.shutdown();
        assert_eq!(read_all(&stream).await.unwrap().len(), 40_000);
        let socket = bind(0);
        socket.enqueue("datagram".into(), Some(&at("server", 9)));
    };
    pair(sim, server, client).unwrap();
    lines.take()
}

/// If this fails, seeds no longer mean what they meant: those who noted one can't replay it. It may do so only when the
/// network's behaviour is changed on purpose.
#[test]
fn the_trace_of_a_small_world_stays_as_it_is() {
    let trace = small_trace(1);
    assert!(trace == include_str!("small_trace.txt"), "the trace is now:\n{trace}");
}

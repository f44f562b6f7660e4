//! Few active connections among very many idle ones, and all of very many active.

use std::ops::Range;
use std::rc::Rc;

use sunstar_bench_common::idle::resident_mib;
use sunstar_bench_common::measure::{Plan, Reporter, Sample, sample_batches};
use sunstar_bench_common::tcp::{MANY, REQUEST, RESPONSE};
use sunstar_net::TcpStream;
use sunstar_packet::Buffer;

use super::{NAME, Tally, ask, connect_to};

/// The server's ports, and connections of each one: fewer than the client has ports.
pub(super) const PORTS: Range<u16> = 1_000..1_050;
const PER_PORT: usize = 20_000;

/// What one request and its response took, in three ways.
pub(super) struct Million {
    /// On a thousand connections one after the other, with no others.
    alone: Sample,
    /// The same among idle ones, each far from the last one.
    among: Sample,
    /// On any of all.
    uniform: Sample,
    connections: usize,
    bytes: f64,
}

pub(super) async fn million(plan: Plan, _tally: Rc<Tally>) -> Million {
    let mut streams = Vec::with_capacity(plan.connections);
    open(&mut streams, MANY).await;
    let mut at = 0;
    let alone = measure(plan, &mut streams, |_| {
        at += 1;
        at
    })
    .await;
    let before = resident_mib();
    let more = plan.connections - MANY;
    open(&mut streams, more).await;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let bytes = (resident_mib() - before) * f64::from(1 << 20) / more as f64;
    let among = measure(plan, &mut streams, |count| {
        at = (at + 1) % MANY;
        at * (count / MANY)
    })
    .await;
    let mut state = 0x9E37_79B9_u32;
    let uniform = measure(plan, &mut streams, |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as usize
    })
    .await;
    Million { alone, among, uniform, connections: plan.connections, bytes }
}

/// Opens so many connections, each with a task at its other end that answers.
async fn open(streams: &mut Vec<TcpStream>, count: usize) {
    for _ in 0..count {
        let port = PORTS.clone().nth(streams.len() / PER_PORT).expect("there are enough ports for a million");
        streams.push(connect_to(port).await);
    }
}

/// One request at a time, on the connections that `choose` names, which is told how many there are.
async fn measure(plan: Plan, streams: &mut [TcpStream], mut choose: impl FnMut(usize) -> usize) -> Sample {
    let request = Buffer::copy_from_slice(&REQUEST);
    let count = streams.len();
    sample_batches(plan.target, async |batch| {
        for _ in 0..batch {
            ask(&mut streams[choose(count) % count], &request, &RESPONSE).await;
        }
        batch
    })
    .await
}

/// Prints what came out.
pub(super) fn report(reporter: Reporter, million: &Million) {
    let Million { alone, among, uniform, connections, bytes } = million;
    for (bench, sample) in [("tcp_alone", alone), ("tcp_among_idle", among), ("tcp_uniform", uniform)] {
        Reporter::new(NAME, bench, reporter.plan).nanos_per_op(*sample);
    }
    let times = |sample: &Sample| sample.nanos_per_op / alone.nanos_per_op;
    reporter.value("tcp_among_idle_times", "times alone", times(among), among.iterations);
    reporter.value("tcp_uniform_times", "times alone", times(uniform), uniform.iterations);
    reporter.value("tcp_connection_bytes", "bytes", *bytes, *connections as u64);
}

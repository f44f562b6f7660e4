//! The report as JSON, for programs.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::{Description, at_percentiles, per_second};
use crate::fault::{Fault, KINDS};
use crate::run::{Outcome, Row, Why};

/// A request does not stand for more.
const MOST_CORRECTED: u64 = 1 << 20;

/// The whole report. Times are in nanoseconds where their names do not say otherwise.
pub(crate) fn report(description: &Description, outcome: &Outcome) -> Value {
    let total = &outcome.total;
    json!({
        "target": description.target,
        "load": description.load,
        "shards": outcome.shards,
        "ended": match outcome.why {
            Why::Done => "done",
            Why::Stopped => "stopped",
            Why::Stalled => "stalled",
            Why::Unconnected => "unconnected",
        },
        "elapsed_s": outcome.elapsed.as_secs_f64(),
        "requests": total.good(),
        "requests_per_second": per_second(total.good(), outcome.elapsed),
        "requests_failed": faults(&total.failed),
        "requests_unanswered": total.unanswered,
        "requests_unsent": total.unsent,
        "received_bytes": total.received_bytes,
        "sent_bytes": total.sent_bytes,
        "protocol": outcome.figures.iter().map(|(name, count)| ((*name).to_owned(), (*count).into())).collect::<Map<_, _>>(),
        "connections": total.connects.len(),
        "connections_open": outcome.open,
        "connections_failed": faults(&total.unconnected),
        "connections_closed_idle": total.closed_idle,
        "connections_unasked": total.unasked,
        "latency_ns": times(&total.latencies, total.lost),
        "latency_given_up": total.given_up,
        "latency_lost": total.lost,
        "latency_unknown": total.unknown,
        "latency_corrected_ns": corrected(outcome).map(|latencies| times(&latencies, total.lost)),
        "connect_ns": times(&total.connects, 0),
        "load_side": {
            "is_saturated": outcome.load_side.is_saturated(),
            "is_late": outcome.is_late(),
            "busy": outcome.load_side.busiest().map(|(_, share)| share),
            "lag_ns": times(&total.lag, 0),
            "lateness_ns": times(&total.lateness, 0),
        },
        "warnings": outcome.warnings(),
        "seconds": outcome.series.iter().map(second).collect::<Vec<_>>(),
    })
}

/// The latencies of a closed loop as wrk shows them: as if each connection had meant to ask at the mean interval, so that a request that took longer
/// stands for those as well that would have been due meanwhile (Tene's correction of what he calls coordinated omission).
fn corrected(outcome: &Outcome) -> Option<Histogram<u64>> {
    let nanos = outcome.elapsed.as_nanos() * u128::from(outcome.under_way?);
    let interval = u64::try_from(nanos / u128::from(outcome.total.good().max(1))).ok()?.max(1);
    let latencies = &outcome.total.latencies;
    (latencies.max() / interval < MOST_CORRECTED).then(|| latencies.clone_correct(interval))
}

/// Of so many longer ones only the percentiles know.
fn times(times: &Histogram<u64>, longer: u64) -> Value {
    if times.is_empty() {
        return Value::Null;
    }
    let percentiles: Map<String, Value> =
        at_percentiles(times, longer).map(|(name, nanos)| (name.to_owned(), nanos.into())).collect();
    json!({
        "count": times.len(),
        "min": times.min(),
        "mean": times.mean(),
        "stdev": times.stdev(),
        "max": times.max(),
        "percentiles": percentiles,
    })
}

fn faults(counts: &[u64; KINDS]) -> Value {
    let named = Fault::ALL.into_iter().zip(counts).map(|(fault, count)| (fault.key().to_owned(), (*count).into()));
    Value::Object(named.collect())
}

fn second(row: &Row) -> Value {
    let [p50, p99, p999, max] = row.latencies;
    json!({
        "at_s": row.at_s,
        "len_s": row.len_s,
        "is_draining": row.is_draining,
        "requests": row.good,
        "failed": row.bad,
        "connections_open": row.open,
        "received_bytes": row.received_bytes,
        "sent_bytes": row.sent_bytes,
        "latency_ns": { "50": p50, "99": p99, "99.9": p999, "100": max },
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load_side::LoadSide;
    use crate::tally::Tally;

    #[test]
    fn a_request_that_took_long_stands_for_those_that_were_not_sent_meanwhile() {
        let mut total = Tally::new();
        (0..9).for_each(|_| total.answer(Duration::from_millis(1)));
        total.answer(Duration::from_millis(91));
        let mut outcome = Outcome {
            total,
            elapsed: Duration::from_millis(100),
            series: Vec::new(),
            shards: 1,
            open: 1,
            why: Why::Done,
            figures: Vec::new(),
            load_side: LoadSide::default(),
            under_way: Some(1),
        };
        // One was answered each 10 ms on average, so eight more were due while that one waited: after 81, 71, … 11 ms.
        let latencies = corrected(&outcome).expect("it is a closed loop");
        assert_eq!((latencies.len(), latencies.value_at_quantile(0.5) / 1_000_000), (18, 1));
        assert_eq!(latencies.value_at_quantile(0.75) / 1_000_000, 51);
        outcome.under_way = None;
        assert_eq!(corrected(&outcome), None);
    }
}

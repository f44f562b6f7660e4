//! What clients show in the metrics of their shard.

use alloc::rc::Rc;

use sunstar_metrics::{Buckets, Family, Figure, RegisterError, Registration, Registry};

use super::pool::Pool;
use super::stats::ClientStats;

type Labels = &'static [(&'static str, &'static str)];

const SECONDS: Family = Family::histogram(
    "sunstar_http_client_response_seconds",
    "From the begin of a request until the head of its response, waits for a connection and repetitions included.",
    Buckets::LATENCY,
);

const FIGURES: &[Figure<ClientStats>] = &[
    Figure::counter("sunstar_http_client_requests_total", "Requests that were begun, each once.", |stats| {
        stats.requests
    }),
    Figure::counter("sunstar_http_client_retried_total", "Requests that were sent again.", |stats| stats.retried),
    Figure::counter("sunstar_http_client_responses_total", "Heads of responses that were received.", |stats| {
        stats.responses
    }),
    Figure::counter("sunstar_http_client_connected_total", "Connections that were made.", |stats| stats.connected),
    Figure::counter("sunstar_http_client_connect_failed_total", "Connections that could not be made.", |stats| {
        stats.connect_failed
    }),
    Figure::counter(
        "sunstar_http_client_reused_total",
        "Requests that were sent on a connection that had served before.",
        |stats| stats.reused,
    ),
    ended(&[("reason", "stale")], |stats| stats.stale),
    ended(&[("reason", "unasked")], |stats| stats.unasked),
    ended(&[("reason", "expired")], |stats| stats.expired),
    ended(&[("reason", "broken_off")], |stats| stats.broken_off),
    Figure::counter(
        "sunstar_http_client_drained_total",
        "Responses that were read to their end after they had been dropped.",
        |stats| stats.drained,
    ),
    Figure::counter("sunstar_http_client_timeouts_total", "Phases of requests that took too long.", |stats| {
        stats.timed_out
    }),
    Figure::counter("sunstar_http_client_too_slow_total", "Responses whose bodies came too slowly.", |stats| {
        stats.too_slow
    }),
    Figure::counter(
        "sunstar_http_client_waited_in_vain_total",
        "Requests that waited too long for a connection.",
        |stats| stats.waited_in_vain,
    ),
    Figure::counter("sunstar_http_client_rejected_total", "Requests that were refused as too many wait.", |stats| {
        stats.rejected
    }),
    Figure::gauge("sunstar_http_client_connections_open", "Connections that are there, or being made.", |stats| {
        stats.open
    }),
    Figure::gauge("sunstar_http_client_connections_idle", "Connections that are kept for later.", |stats| stats.idle),
    Figure::gauge("sunstar_http_client_requests_waiting", "Requests that wait for a connection.", |stats| {
        stats.waiting
    }),
];

/// Connections that ended for one of several reasons, which [`ClientStats`] explain.
const fn ended(reason: Labels, count: fn(&ClientStats) -> u64) -> Figure<ClientStats> {
    let help = "Connections that were closed though a response had not said so.";
    Figure::counter("sunstar_http_client_connections_ended_total", help, count).labelled(reason)
}

/// Shows a client's figures in the metrics of its shard, for as long as it is there.
pub(super) fn publish(pool: &Rc<Pool>, name: &str) -> Result<Registration, RegisterError> {
    let client = Rc::downgrade(pool);
    let families = [&Figure::families(FIGURES)[..], &[SECONDS]].concat();
    Registry::here().observe(&families, &[("client", name)], move |readings| {
        let Some(pool) = client.upgrade() else { return };
        readings.show_figures(FIGURES, &[], &pool.stats());
        readings.show_distribution(&SECONDS, &[], &pool.latency);
    })
}

//! What servers count, and the handler that shows all metrics.

use alloc::boxed::Box;
use alloc::rc::{Rc, Weak};
use alloc::string::String;
use core::cell::{Cell, OnceCell};
use core::fmt::Write;

use sunstar_executor::Instant;
use sunstar_executor::maybe_yield;
use sunstar_executor::timer::{lowres, now};
use sunstar_http1::{Counters, HeaderName, Method, Request, Status};
use sunstar_metrics::{
    Buckets, Distribution, Family, Figure, Readings, RegisterError, Registration, Registry, gather_unless_busy,
    prometheus,
};
use sunstar_packet::Buffer;

use crate::error::Error;
use crate::exchange::Exchange;
use crate::server::{ServerStats, Shared};

const RESPONSES: Family =
    Family::counter("sunstar_http_responses_total", "Requests that were answered, by the status of the response.");
const LATENCY: Family = Family::histogram(
    "sunstar_http_response_seconds",
    "From the begin of the round in which a request was taken up until its response was handed to the network.",
    Buckets::LATENCY,
);
const FIGURES: &[Figure<ServerStats>] = &[
    Figure::counter("sunstar_http_requests_total", "Requests whose heads were received.", |stats| stats.requests),
    Figure::counter("sunstar_http_connections_total", "Connections that were served or are.", |stats| stats.accepted),
    Figure::gauge("sunstar_http_connections_live", "Connections that are there.", |stats| stats.live),
    Figure::counter("sunstar_http_refused_total", "Messages of clients that broke the protocol or a limit.", |stats| {
        stats.refused
    }),
    Figure::counter(
        "sunstar_http_failed_total",
        "Connections that ended by an error of the network or of the application.",
        |stats| stats.failed,
    ),
    timeouts(&[("awaited", "head")], |stats| stats.head_timeouts),
    timeouts(&[("awaited", "body")], |stats| stats.body_timeouts),
    timeouts(&[("awaited", "idle")], |stats| stats.idle_timeouts),
    timeouts(&[("awaited", "output")], |stats| stats.output_timeouts),
    Figure::counter(
        "sunstar_http_held_back_total",
        "Connections that had to wait since as many as may be were served.",
        |stats| stats.held_back,
    ),
    Figure::counter(
        "sunstar_http_displaced_total",
        "Idle connections that were closed since another one waited for the place.",
        |stats| stats.displaced,
    ),
    #[cfg(feature = "compression")]
    Figure::counter(
        "sunstar_http_uncompressed_total",
        "Responses that were not compressed since too many were being compressed.",
        |stats| stats.uncompressed,
    ),
];
const ENDPOINT_FIGURES: &[Figure<Counters>] = &[
    Figure::counter(
        "sunstar_http_joined_bytes_total",
        "Bytes of heads that were copied since they did not lie in one piece.",
        |counters| counters.joined_bytes,
    ),
    bounds(&[("bound", "pipelined_requests")], |counters| counters.pipelines_full),
    bounds(&[("bound", "output_bytes")], |counters| counters.outputs_full),
    bounds(&[("bound", "input_bytes")], |counters| counters.inputs_full),
    Figure::gauge("sunstar_http_output_frames", "Frames in which output lies that was not sent.", |counters| {
        counters.frames.in_use_frames as u64
    }),
    Figure::counter(
        "sunstar_http_output_frames_exhausted_total",
        "How often output was put into memory of the heap since no frame was left.",
        |counters| counters.frames.exhausted,
    ),
];

/// What clients took too long for.
const fn timeouts(
    awaited: &'static [(&'static str, &'static str)],
    count: fn(&ServerStats) -> u64,
) -> Figure<ServerStats> {
    let help = "Connections that ended since the client took too long, by what was waited for.";
    Figure::counter("sunstar_http_timeouts_total", help, count).labelled(awaited)
}

/// Bounds on what waits that were reached.
const fn bounds(bound: &'static [(&'static str, &'static str)], count: fn(&Counters) -> u64) -> Figure<Counters> {
    let help =
        "How often input was left alone since as much as may be waited to be answered, to be sent, or to be looked at.";
    Figure::counter("sunstar_http_bounds_reached_total", help, count).labelled(bound)
}

/// Codes have three digits.
const CODES: usize = 1000;

/// What a server counts for metrics alone.
pub(crate) struct Figures {
    by_code: Box<[Cell<u64>]>,
    latency: Distribution,
    /// The server's name, and its place in the registry.
    published: OnceCell<(&'static str, Registration)>,
}

impl Figures {
    pub(crate) fn new() -> Self {
        Self {
            by_code: (0..CODES).map(|_| Cell::new(0)).collect(),
            latency: Distribution::new(Buckets::LATENCY),
            published: OnceCell::new(),
        }
    }

    #[inline]
    pub(crate) fn count_response(&self, status: Status) {
        let count = &self.by_code[usize::from(status.code())];
        count.set(count.get() + 1);
    }

    /// The name under which the server is published.
    pub(crate) fn name(&self) -> Option<&'static str> {
        self.published.get().map(|(name, _)| *name)
    }
}

/// The requests of a connection whose responses were written and not handed to the network yet.
#[derive(Default)]
pub(crate) struct Unsent {
    count: u64,
    /// When the round began in which they were taken up.
    since: Instant,
}

impl Unsent {
    /// A request that was taken up at `since` was answered. Those before it that were taken up in another round are timed now, a little
    /// too early.
    #[inline]
    pub(crate) fn add(&mut self, since: Instant, figures: &Figures) {
        if self.count > 0 && self.since != since {
            self.send(figures);
        }
        self.since = since;
        self.count += 1;
    }

    /// Whether there is none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The responses leave now. Those that leave together are timed together, by one look at the clock.
    #[inline]
    pub(crate) fn send(&mut self, figures: &Figures) {
        if self.count > 0 {
            let time = now().as_nanos() - self.since.as_nanos();
            figures.latency.record_many(time, core::mem::take(&mut self.count));
        }
    }
}

/// When the request that is being looked at is taken up: with all others of this round, at its begin.
#[inline]
pub(crate) fn arrival() -> Instant {
    lowres::now()
}

/// Shows a server's figures in the metrics of its shard.
pub(crate) fn publish(shared: &Rc<Shared>, name: &'static str) -> Result<(), RegisterError> {
    let server = Rc::downgrade(shared);
    let families =
        [&[RESPONSES, LATENCY][..], &Figure::families(FIGURES), &Figure::families(ENDPOINT_FIGURES)].concat();
    let registration =
        Registry::here().observe(&families, &[("server", name)], move |readings| show(&server, readings))?;
    // Of two names the first one counts.
    let _ = shared.figures.published.set((name, registration));
    Ok(())
}

fn show(server: &Weak<Shared>, readings: &mut Readings<'_>) {
    let Some(shared) = server.upgrade() else { return };
    for (code, count) in shared.figures.by_code.iter().enumerate().filter(|(_, count)| count.get() > 0) {
        let mut digits = String::new();
        write!(digits, "{code}").expect("a string takes what is written to it");
        readings.show(&RESPONSES, &[("code", &digits)], count.get());
    }
    readings.show_distribution(&LATENCY, &[], &shared.figures.latency);
    readings.show_figures(FIGURES, &[], &shared.stats());
    readings.show_figures(ENDPOINT_FIGURES, &[], &shared.endpoint.counters());
}

/// Answers with the metrics of all shards, as text for Prometheus: a handler for the path `/metrics`. When too many others wait for them
/// (see [`gather_unless_busy`]), it answers by 503.
///
/// # Errors
/// If the request was answered already.
pub async fn serve_metrics(request: Request, exchange: &mut Exchange<'_>) -> Result<(), Error> {
    if !matches!(request.method(), Method::Get | Method::Head) {
        let mut response = exchange.respond(Status::METHOD_NOT_ALLOWED)?;
        response.header(HeaderName::ALLOW, "GET, HEAD")?;
        response.send("");
        return Ok(());
    }
    // Boxed: a handler that also answers other paths is as large as its largest branch, and is moved for each request.
    let Some(text) = Box::pin(collect()).await else {
        exchange.respond(Status::SERVICE_UNAVAILABLE)?.send("too many others ask for the metrics\n");
        return Ok(());
    };
    let mut response = exchange.respond(Status::OK)?;
    response.header(HeaderName::CONTENT_TYPE, prometheus::CONTENT_TYPE)?;
    response.send(Buffer::from(text.into_bytes()));
    Ok(())
}

/// The metrics of all shards as text, unless too many others wait for it. There may be many, so others get their turn in between.
async fn collect() -> Option<String> {
    let gathered = gather_unless_busy().await?;
    let mut text = String::new();
    for family in &gathered.families {
        prometheus::write(&mut text, family);
        maybe_yield().await;
    }
    Some(text)
}

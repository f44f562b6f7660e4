//! What the reactor and the log count, as metrics.

use std::cell::Cell;
use std::time::Duration;

use sunstar_executor::timer::now;
use sunstar_executor::{Instant, current};
use sunstar_metrics::{Family, RegisterError, Registration, Registry};
use sunstar_reactor::{IoStats, TimeStats, io_stats, stall_stats, time_stats};

use crate::logging;

const UP: Family = Family::counter("sunstar_reactor_up_seconds_total", "The time since the shard's start.");
const BUSY: Family =
    Family::counter("sunstar_reactor_busy_seconds_total", "The time in which the shard had something to do.");
const POLLING: Family = Family::counter(
    "sunstar_reactor_polling_seconds_total",
    "The time in which the shard was awake and had nothing to do.",
);
const ASLEEP: Family = Family::counter("sunstar_reactor_asleep_seconds_total", "The time in which the shard slept.");
const CPU: Family =
    Family::counter("sunstar_reactor_cpu_seconds_total", "The time that a processor ran the shard's thread.");
const STOLEN: Family = Family::counter(
    "sunstar_reactor_stolen_seconds_total",
    "The time in which the shard was awake and no processor ran its thread.",
);
const UTILISATION: Family = Family::gauge(
    "sunstar_reactor_utilisation_ratio",
    "The busy part of the shard's time since the metrics were read before, at least a second.",
);
const STALLS: Family =
    Family::counter("sunstar_reactor_stalls_total", "Tasks and the like that kept the shard for too long.");
const LONGEST_STALL: Family =
    Family::gauge("sunstar_reactor_longest_stall_seconds", "How long the longest of them lasted at least.");
const UNTOLD_STALLS: Family = Family::counter(
    "sunstar_reactor_suppressed_stall_reports_total",
    "Reports of stalls that were not written since there were too many.",
);
const TIMES: [Family; 10] = [UP, BUSY, POLLING, ASLEEP, CPU, STOLEN, UTILISATION, STALLS, LONGEST_STALL, UNTOLD_STALLS];

/// A figure of the driver: what it means, and where it is found.
type Figure = (Family, fn(&IoStats) -> u64);

const FIGURES: [Figure; 18] = [
    (Family::counter("sunstar_reactor_polls_total", "Polls of input and output that found something."), |stats| {
        stats.events
    }),
    (
        Family::counter("sunstar_reactor_system_calls_total", "System calls that were made for sockets and to wait."),
        |stats| stats.system_calls,
    ),
    (
        Family::counter("sunstar_reactor_completion_overflows_total", "How often the ring of completions was full."),
        |stats| stats.completion_overflows,
    ),
    (Family::gauge("sunstar_sockets_open", "Sockets that are open."), |stats| stats.open_sockets as u64),
    (
        Family::counter(
            "sunstar_sockets_accepted_total",
            "Connections that the shard took from the kernel, for all shards.",
        ),
        |stats| stats.accepted,
    ),
    (Family::counter("sunstar_sockets_accept_failures_total", "Attempts to take a connection that failed."), |stats| {
        stats.accept_failures
    }),
    (Family::counter("sunstar_sockets_connected_total", "Connections that were made."), |stats| stats.connected),
    (
        Family::counter("sunstar_sockets_resets_total", "Streams that the peer has reset, as far as reading noticed."),
        |stats| stats.resets,
    ),
    (
        Family::counter(
            "sunstar_sockets_cut_off_total",
            "Streams that were closed before all that was queued was sent.",
        ),
        |stats| stats.cut_off_streams,
    ),
    (Family::counter("sunstar_sockets_received_bytes_total", "Bytes that were received."), |stats| {
        stats.received_bytes
    }),
    (Family::counter("sunstar_sockets_sent_bytes_total", "Bytes that the kernel took to be sent."), |stats| {
        stats.sent_bytes
    }),
    (
        Family::counter(
            "sunstar_sockets_dropped_datagrams_total",
            "Datagrams that found a queue full, or were too long.",
        ),
        |stats| stats.dropped_datagrams,
    ),
    (Family::counter("sunstar_sockets_zero_copy_sends_total", "Sends that leave the bytes where they are."), |stats| {
        stats.zero_copy_sends
    }),
    (
        Family::counter(
            "sunstar_sockets_zero_copies_in_vain_total",
            "Such sends that the kernel had to copy after all.",
        ),
        |stats| stats.zero_copies_in_vain,
    ),
    (Family::gauge("sunstar_buffers_frames", "Frames that the driver has for what streams receive."), |stats| {
        stats.frames as u64
    }),
    (Family::gauge("sunstar_buffers_lent_frames", "Frames that received bytes lie in."), |stats| {
        stats.lent_frames as u64
    }),
    (
        Family::counter(
            "sunstar_buffers_short_frames_total",
            "How often bytes came in when too many frames were lent.",
        ),
        |stats| stats.short_frames,
    ),
    (
        Family::counter(
            "sunstar_buffers_copied_out_bytes_total",
            "Bytes that were copied since too many frames were lent.",
        ),
        |stats| stats.copied_out_bytes,
    ),
];

const LOG_WRITTEN: Family =
    Family::counter("sunstar_log_written_total", "Lines of the log that were written.").summed();
const LOG_DROPPED: Family =
    Family::counter("sunstar_log_dropped_total", "Lines of the log that were dropped since too many waited.").summed();

/// The utilisation is that of at least so much time.
const WINDOW: Duration = Duration::from_secs(1);

/// Registers all of it on the current shard, for ever.
pub(crate) fn register() {
    let registry = Registry::here();
    let mut registered = vec![register_times(&registry), register_figures(&registry)];
    if current::shard_id().index() == 0 {
        // The process has one log.
        registered.push(registry.observe(&[LOG_WRITTEN, LOG_DROPPED], &[], |readings| {
            let stats = logging::stats();
            readings.show(&LOG_WRITTEN, &[], stats.written);
            readings.show(&LOG_DROPPED, &[], stats.dropped);
        }));
    }
    for registered in registered {
        // The names are tested, and no application has run yet.
        registered.map_or_else(|error| log::error!("{error}"), Registration::keep);
    }
}

fn register_times(registry: &std::rc::Rc<Registry>) -> Result<Registration, RegisterError> {
    let (window, stolen) = (Window::default(), Cell::new(Duration::ZERO));
    registry.observe(&TIMES, &[], move |readings| {
        let times = time_stats();
        // The processor's time is known a little later than the shard's, so the difference may go back a little.
        stolen.set(stolen.get().max(times.stolen()));
        readings.show(&UP, &[], times.up);
        readings.show(&BUSY, &[], times.busy());
        readings.show(&POLLING, &[], times.polling);
        readings.show(&ASLEEP, &[], times.asleep);
        readings.show(&CPU, &[], times.cpu);
        readings.show(&STOLEN, &[], stolen.get());
        readings.show(&UTILISATION, &[], window.utilisation(now(), &times));
        let stalls = stall_stats().unwrap_or_default();
        readings.show(&STALLS, &[], stalls.stalls);
        readings.show(&LONGEST_STALL, &[], stalls.longest);
        readings.show(&UNTOLD_STALLS, &[], stalls.suppressed_reports);
    })
}

fn register_figures(registry: &std::rc::Rc<Registry>) -> Result<Registration, RegisterError> {
    let families: Vec<Family> = FIGURES.iter().map(|(family, _)| *family).collect();
    registry.observe(&families, &[], |readings| {
        let stats = io_stats();
        FIGURES.iter().for_each(|(family, figure)| readings.show(family, &[], figure(&stats)));
    })
}

/// The time that the utilisation is told of.
#[derive(Default)]
struct Window {
    began: Cell<Instant>,
    /// What the times were then.
    up: Cell<Duration>,
    busy: Cell<Duration>,
    ratio: Cell<f64>,
}

impl Window {
    fn utilisation(&self, now: Instant, times: &TimeStats) -> f64 {
        if now - self.began.get() >= WINDOW {
            let (up, busy) = (times.up - self.up.replace(times.up), times.busy() - self.busy.replace(times.busy()));
            self.began.set(now);
            self.ratio.set(if up.is_zero() { 0.0 } else { busy.as_secs_f64() / up.as_secs_f64() });
        }
        self.ratio.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_utilisation_is_that_of_at_least_a_second() {
        let window = Window::default();
        let at = |up_ms: u64, busy_ms: u64| {
            let mut times = TimeStats::default();
            times.up = Duration::from_millis(up_ms);
            times.asleep = Duration::from_millis(up_ms - busy_ms);
            window.utilisation(Instant::from_nanos(up_ms * 1_000_000), &times)
        };
        assert_eq!(at(999, 999), 0.0, "nothing is known yet");
        assert_eq!(at(1000, 500), 0.5);
        assert_eq!(at(1999, 1499), 0.5, "it is too soon");
        assert_eq!(at(3000, 2000), 0.75);
    }
}

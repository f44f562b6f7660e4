//! What the reactor and the log count, as metrics.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::timer::now;
use sunstar_executor::{Instant, current};
use sunstar_metrics::{Family, Figure, RegisterError, Registration, Registry};
use sunstar_reactor::{
    BlockingStats, IoStats, StallStats, TimeStats, blocking_stats, io_stats, stall_stats, time_stats,
};

use crate::logging;

/// What the shard and its stall detector know of its time.
struct Times {
    times: TimeStats,
    stolen: Duration,
    stalls: StallStats,
}

const TIMES: &[Figure<Times>] = &[
    Figure::time("sunstar_reactor_up_seconds_total", "The time since the shard's start.", |of| of.times.up),
    Figure::time("sunstar_reactor_busy_seconds_total", "The time in which the shard had something to do.", |of| {
        of.times.busy()
    }),
    Figure::time(
        "sunstar_reactor_polling_seconds_total",
        "The time in which the shard was awake and had nothing to do.",
        |of| of.times.polling,
    ),
    Figure::time("sunstar_reactor_asleep_seconds_total", "The time in which the shard slept.", |of| of.times.asleep),
    Figure::time("sunstar_reactor_cpu_seconds_total", "The time that a processor ran the shard's thread.", |of| {
        of.times.cpu
    }),
    Figure::time(
        "sunstar_reactor_stolen_seconds_total",
        "The time in which the shard was awake and no processor ran its thread.",
        |of| of.stolen,
    ),
    Figure::counter("sunstar_reactor_stalls_total", "Tasks and the like that kept the shard for too long.", |of| {
        of.stalls.stalls
    }),
    Figure::counter(
        "sunstar_reactor_suppressed_stall_reports_total",
        "Reports of stalls that were not written since there were too many.",
        |of| of.stalls.suppressed_reports,
    ),
];
const UTILISATION: Family = Family::gauge(
    "sunstar_reactor_utilisation_ratio",
    "The busy part of the shard's time since the metrics were read before, at least a second.",
);
const LONGEST_STALL: Family =
    Family::gauge("sunstar_reactor_longest_stall_seconds", "How long the longest stall lasted at least.");

const FIGURES: &[Figure<IoStats>] = &[
    Figure::counter("sunstar_reactor_polls_total", "Polls of input and output that found something.", |stats| {
        stats.events
    }),
    Figure::counter(
        "sunstar_reactor_system_calls_total",
        "System calls that were made for sockets and to wait.",
        |stats| stats.system_calls,
    ),
    Figure::counter(
        "sunstar_reactor_completion_overflows_total",
        "How often the ring of completions was full.",
        |stats| stats.completion_overflows,
    ),
    Figure::gauge("sunstar_sockets_open", "Sockets that are open.", |stats| stats.open_sockets as u64),
    Figure::counter(
        "sunstar_sockets_accepted_total",
        "Connections that the shard took from the kernel, for all shards.",
        |stats| stats.accepted,
    ),
    Figure::counter("sunstar_sockets_accept_failures_total", "Attempts to take a connection that failed.", |stats| {
        stats.accept_failures
    }),
    Figure::counter("sunstar_sockets_connected_total", "Connections that were made.", |stats| stats.connected),
    Figure::counter(
        "sunstar_sockets_resets_total",
        "Streams that the peer has reset, as far as reading noticed.",
        |stats| stats.resets,
    ),
    Figure::counter(
        "sunstar_sockets_cut_off_total",
        "Streams that were closed before all that was queued was sent.",
        |stats| stats.cut_off_streams,
    ),
    Figure::counter("sunstar_sockets_received_bytes_total", "Bytes that were received.", |stats| stats.received_bytes),
    Figure::counter("sunstar_sockets_sent_bytes_total", "Bytes that the kernel took to be sent.", |stats| {
        stats.sent_bytes
    }),
    Figure::counter(
        "sunstar_sockets_dropped_datagrams_total",
        "Datagrams that found a queue full, or were too long.",
        |stats| stats.dropped_datagrams,
    ),
    Figure::counter("sunstar_sockets_zero_copy_sends_total", "Sends that leave the bytes where they are.", |stats| {
        stats.zero_copy_sends
    }),
    Figure::counter(
        "sunstar_sockets_zero_copies_in_vain_total",
        "Such sends that the kernel had to copy after all.",
        |stats| stats.zero_copies_in_vain,
    ),
    Figure::gauge("sunstar_buffers_frames", "Frames that the driver has for what streams receive.", |stats| {
        stats.frames as u64
    }),
    Figure::gauge("sunstar_buffers_lent_frames", "Frames that received bytes lie in.", |stats| {
        stats.lent_frames as u64
    }),
    Figure::counter(
        "sunstar_buffers_short_frames_total",
        "How often bytes came in when too many frames were lent.",
        |stats| stats.short_frames,
    ),
    Figure::counter(
        "sunstar_buffers_copied_out_bytes_total",
        "Bytes that were copied since too many frames were lent.",
        |stats| stats.copied_out_bytes,
    ),
    Figure::counter(
        "sunstar_files_cold_chunks_total",
        "Chunks of files that were read beside the shard since they were not in memory when they were to be sent.",
        |stats| stats.cold_file_chunks,
    ),
];

const BLOCKING: &[Figure<BlockingStats>] = &[
    Figure::counter("sunstar_blocking_calls_total", "Calls that block that the helper thread was given.", |stats| {
        stats.calls
    }),
    Figure::gauge("sunstar_blocking_calls_under_way", "Calls that the helper thread has.", |stats| {
        stats.under_way as u64
    }),
    Figure::counter("sunstar_blocking_waits_total", "How often as many of them were there as may be.", |stats| {
        stats.waits
    }),
    Figure::counter("sunstar_blocking_panicked_total", "Calls on the helper thread that panicked.", |stats| {
        stats.panicked
    }),
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
    let mut registered = vec![
        register_times(&registry),
        registry.observe(&Figure::families(FIGURES), &[], |readings| readings.show_figures(FIGURES, &[], &io_stats())),
        registry.observe(&Figure::families(BLOCKING), &[], |readings| {
            readings.show_figures(BLOCKING, &[], &blocking_stats());
        }),
    ];
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

fn register_times(registry: &Rc<Registry>) -> Result<Registration, RegisterError> {
    let (window, stolen) = (Window::default(), Cell::new(Duration::ZERO));
    let families = [&Figure::families(TIMES)[..], &[UTILISATION, LONGEST_STALL]].concat();
    registry.observe(&families, &[], move |readings| {
        let (times, stalls) = (time_stats(), stall_stats().unwrap_or_default());
        // The processor's time is known a little later than the shard's, so the difference may go back a little.
        stolen.set(stolen.get().max(times.stolen()));
        readings.show(&UTILISATION, &[], window.utilisation(now(), &times));
        readings.show(&LONGEST_STALL, &[], stalls.longest);
        readings.show_figures(TIMES, &[], &Times { times, stolen: stolen.get(), stalls });
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

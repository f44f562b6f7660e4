//! What every shard tells of its executor.

use alloc::rc::Rc;

use sunstar_executor::group::GroupStats;
use sunstar_executor::{Stats, current};

use crate::error::RegisterError;
use crate::figure::Figure;
use crate::registry::{Registration, Registry};

const FIGURES: &[Figure<Stats>] = &[
    Figure::counter("sunstar_executor_rounds_total", "Rounds of the shard.", |stats| stats.rounds),
    Figure::counter("sunstar_executor_sleeps_total", "How often the shard went to sleep.", |stats| stats.sleeps),
    Figure::counter("sunstar_tasks_spawned_total", "Tasks that were started.", |stats| stats.spawned_tasks),
    Figure::gauge("sunstar_tasks_living", "Tasks that have not ended.", |stats| stats.living_tasks),
    Figure::counter("sunstar_tasks_panicked_total", "Tasks that ended in a panic.", |stats| stats.panicked_tasks),
    Figure::counter("sunstar_tasks_abandoned_errors_total", "Errors of tasks that nobody looked at.", |stats| {
        stats.abandoned_errors
    }),
    Figure::counter(
        "sunstar_executor_foreign_panics_total",
        "Panics of wakers, destructors and the like outside of tasks.",
        |stats| stats.foreign_panics,
    ),
    Figure::counter(
        "sunstar_executor_arrivals_total",
        "Wakes, drops and memory that came from other threads.",
        |stats| stats.arrivals,
    ),
    Figure::counter("sunstar_messages_sent_total", "Messages that were sent to shards.", |stats| stats.sent_messages),
    Figure::counter("sunstar_messages_received_total", "Messages that came from other shards.", |stats| {
        stats.received_messages
    }),
    Figure::counter(
        "sunstar_messages_waits_for_room_total",
        "How often a sender found the ring to a shard full.",
        |stats| stats.waits_for_room,
    ),
    Figure::counter(
        "sunstar_messages_waits_for_service_total",
        "How often a request found as many in flight as may be.",
        |stats| stats.waits_for_service,
    ),
    Figure::counter(
        "sunstar_messages_overflowed_replies_total",
        "Replies that found the ring full and were kept aside.",
        |stats| stats.overflowed_replies,
    ),
    Figure::counter(
        "sunstar_messages_held_rings_total",
        "How often messages stayed in a ring since an inbox was full.",
        |stats| stats.held_rings,
    ),
    Figure::counter("sunstar_messages_panicked_total", "Messages and requests that panicked.", |stats| {
        stats.panicked_messages
    }),
    Figure::gauge("sunstar_messages_waiting", "Messages and replies that wait for room in a ring.", |stats| {
        stats.waiting_messages
    }),
    Figure::counter(
        "sunstar_messages_refused_aliens_total",
        "Messages of other threads that found too many under way.",
        |stats| stats.refused_aliens,
    ),
    Figure::gauge("sunstar_executor_residents", "Things of the shard that may come home from elsewhere.", |stats| {
        stats.residents
    }),
    Figure::gauge("sunstar_timers_armed", "Timers that are armed.", |stats| stats.armed_timers),
    Figure::counter("sunstar_timers_started_total", "Timers that were armed.", |stats| stats.started_timers),
    Figure::counter("sunstar_timers_fired_total", "Timers that fired.", |stats| stats.fired_timers),
    Figure::counter("sunstar_timers_cancelled_total", "Timers that were cancelled while they were armed.", |stats| {
        stats.cancelled_timers
    }),
    Figure::counter("sunstar_timers_panicked_total", "Timers whose closure panicked.", |stats| stats.panicked_timers),
];

const GROUP_FIGURES: &[Figure<GroupStats>] = &[
    Figure::time(
        "sunstar_group_run_seconds_total",
        "How long tasks and messages of the scheduling group ran.",
        |group| group.run_time,
    ),
    Figure::counter("sunstar_group_polls_total", "How often a task of the scheduling group was polled.", |group| {
        group.polls
    }),
    Figure::counter("sunstar_group_messages_total", "Messages that ran in the scheduling group.", |group| {
        group.messages
    }),
    Figure::counter("sunstar_group_turns_total", "How often the scheduling group got a turn.", |group| group.turns),
    Figure::gauge("sunstar_group_queued_tasks", "Tasks of the scheduling group that wait to run.", |group| {
        group.queued_tasks as u64
    }),
    Figure::gauge("sunstar_group_queued_messages", "Messages of the scheduling group that wait to run.", |group| {
        group.queued_messages as u64
    }),
    Figure::gauge("sunstar_group_shares", "Shares of the scheduling group.", |group| group.shares.into()),
];

/// Registers the figures of the executor.
pub(crate) fn register(registry: &Rc<Registry>) -> Result<Registration, RegisterError> {
    let families = [Figure::families(FIGURES), Figure::families(GROUP_FIGURES)].concat();
    registry.observe(&families, &[], |readings| {
        readings.show_figures(FIGURES, &[], &current::stats());
        for group in current::group_stats() {
            readings.show_figures(GROUP_FIGURES, &[("group", &*group.name)], &group);
        }
    })
}

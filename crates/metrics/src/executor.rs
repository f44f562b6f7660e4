//! What every shard tells of its executor and its listeners.

use alloc::rc::Rc;
use alloc::vec::Vec;

use sunstar_executor::{Stats, current};

use crate::error::RegisterError;
use crate::family::Family;
use crate::readings::Readings;
use crate::registry::{Registration, Registry};

/// A figure of the executor: what it means, and where it is found.
type Figure = (Family, fn(&Stats) -> u64);

const FIGURES: [Figure; 23] = [
    (Family::counter("sunstar_executor_rounds_total", "Rounds of the shard."), |stats| stats.rounds),
    (Family::counter("sunstar_executor_sleeps_total", "How often the shard went to sleep."), |stats| stats.sleeps),
    (Family::counter("sunstar_tasks_spawned_total", "Tasks that were started."), |stats| stats.spawned_tasks),
    (Family::gauge("sunstar_tasks_living", "Tasks that have not ended."), |stats| stats.living_tasks),
    (Family::counter("sunstar_tasks_panicked_total", "Tasks that ended in a panic."), |stats| stats.panicked_tasks),
    (Family::counter("sunstar_tasks_abandoned_errors_total", "Errors of tasks that nobody looked at."), |stats| {
        stats.abandoned_errors
    }),
    (
        Family::counter(
            "sunstar_executor_foreign_panics_total",
            "Panics of wakers, destructors and the like outside of tasks.",
        ),
        |stats| stats.foreign_panics,
    ),
    (
        Family::counter("sunstar_executor_arrivals_total", "Wakes, drops and memory that came from other threads."),
        |stats| stats.arrivals,
    ),
    (Family::counter("sunstar_messages_sent_total", "Messages that were sent to shards."), |stats| stats.sent_messages),
    (Family::counter("sunstar_messages_received_total", "Messages that came from other shards."), |stats| {
        stats.received_messages
    }),
    (
        Family::counter("sunstar_messages_waits_for_room_total", "How often a sender found the ring to a shard full."),
        |stats| stats.waits_for_room,
    ),
    (
        Family::counter(
            "sunstar_messages_waits_for_service_total",
            "How often a request found as many in flight as may be.",
        ),
        |stats| stats.waits_for_service,
    ),
    (
        Family::counter(
            "sunstar_messages_overflowed_replies_total",
            "Replies that found the ring full and were kept aside.",
        ),
        |stats| stats.overflowed_replies,
    ),
    (
        Family::counter(
            "sunstar_messages_held_rings_total",
            "How often messages stayed in a ring since an inbox was full.",
        ),
        |stats| stats.held_rings,
    ),
    (Family::counter("sunstar_messages_panicked_total", "Messages and requests that panicked."), |stats| {
        stats.panicked_messages
    }),
    (Family::gauge("sunstar_messages_waiting", "Messages and replies that wait for room in a ring."), |stats| {
        stats.waiting_messages
    }),
    (
        Family::counter(
            "sunstar_messages_refused_aliens_total",
            "Messages of other threads that found too many under way.",
        ),
        |stats| stats.refused_aliens,
    ),
    (Family::gauge("sunstar_executor_residents", "Things of the shard that may come home from elsewhere."), |stats| {
        stats.residents
    }),
    (Family::gauge("sunstar_timers_armed", "Timers that are armed."), |stats| stats.armed_timers),
    (Family::counter("sunstar_timers_started_total", "Timers that were armed."), |stats| stats.started_timers),
    (Family::counter("sunstar_timers_fired_total", "Timers that fired."), |stats| stats.fired_timers),
    (Family::counter("sunstar_timers_cancelled_total", "Timers that were cancelled while they were armed."), |stats| {
        stats.cancelled_timers
    }),
    (Family::counter("sunstar_timers_panicked_total", "Timers whose closure panicked."), |stats| stats.panicked_timers),
];

const GROUP_RUN: Family =
    Family::counter("sunstar_group_run_seconds_total", "How long tasks and messages of the scheduling group ran.");
const GROUP_POLLS: Family =
    Family::counter("sunstar_group_polls_total", "How often a task of the scheduling group was polled.");
const GROUP_MESSAGES: Family =
    Family::counter("sunstar_group_messages_total", "Messages that ran in the scheduling group.");
const GROUP_TURNS: Family = Family::counter("sunstar_group_turns_total", "How often the scheduling group got a turn.");
const GROUP_TASKS: Family =
    Family::gauge("sunstar_group_queued_tasks", "Tasks of the scheduling group that wait to run.");
const GROUP_INBOX: Family =
    Family::gauge("sunstar_group_queued_messages", "Messages of the scheduling group that wait to run.");
const GROUP_SHARES: Family = Family::gauge("sunstar_group_shares", "Shares of the scheduling group.");
const GROUPS: [Family; 7] =
    [GROUP_RUN, GROUP_POLLS, GROUP_MESSAGES, GROUP_TURNS, GROUP_TASKS, GROUP_INBOX, GROUP_SHARES];

/// Registers the figures of the executor.
pub(crate) fn register(registry: &Rc<Registry>) -> Result<Registration, RegisterError> {
    let families: Vec<Family> = FIGURES.iter().map(|(family, _)| *family).chain(GROUPS).collect();
    registry.observe(&families, &[], |readings| {
        let stats = current::stats();
        FIGURES.iter().for_each(|(family, figure)| readings.show(family, &[], figure(&stats)));
        show_groups(readings);
    })
}

fn show_groups(readings: &mut Readings<'_>) {
    for group in current::group_stats() {
        let labels = &[("group", &*group.name)];
        readings.show(&GROUP_RUN, labels, group.run_time);
        readings.show(&GROUP_POLLS, labels, group.polls);
        readings.show(&GROUP_MESSAGES, labels, group.messages);
        readings.show(&GROUP_TURNS, labels, group.turns);
        readings.show(&GROUP_TASKS, labels, group.queued_tasks);
        readings.show(&GROUP_INBOX, labels, group.queued_messages);
        readings.show(&GROUP_SHARES, labels, group.shares);
    }
}

//! Uses the pure crates without operating system and C library, and exits with 0 if they do what they should.
#![no_std]
#![no_main]

extern crate alloc;

mod bare;
mod buffers;
mod cache;
mod http;
mod memory;
mod rings;
mod segments;
mod sockets;
mod tasks;
mod world;

/// What is checked, in this order.
const CHECKS: &[fn() -> bool] = &[
    buffers::what_was_posted_comes_home,
    buffers::packets_are_built_around_frames,
    buffers::buffers_cross_and_come_back,
    cache::items_are_stored_and_found,
    http::requests_are_answered,
    http::dates_are_written,
    rings::chains_go_there_and_back,
    segments::checksums_are_those_of_the_rfc,
    segments::segments_are_built_and_read,
    segments::streams_are_carried,
    sockets::programs_connect_and_read,
    tasks::instants_add_up,
    tasks::tasks_run_and_are_joined,
    tasks::wakes_find_their_task,
    tasks::timers_fire_in_order,
    tasks::tasks_wait_for_each_other,
    tasks::shards_answer_each_other,
];

/// Runs every check and answers the exit status: 0, or the number of the first check that failed, from 1.
fn checks() -> u8 {
    for (number, check) in (1..).zip(CHECKS) {
        if !check() {
            return number;
        }
    }
    0
}

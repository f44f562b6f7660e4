//! Tests of messages: the ring alone, the traffic of several shards on one thread, random traffic, real threads.

mod calls;
mod posts;
mod publishing;
mod random;
mod ring;
mod room;
mod stops;
mod threads;

use alloc::sync::Arc;

/// Counts how many of its clones are alive, so that a leaked or twice dropped message shows.
#[derive(Clone)]
pub(super) struct Token(#[expect(dead_code, reason = "its count is what is looked at")] Arc<()>);

pub(super) fn tokens() -> (Arc<()>, Token) {
    let count = Arc::new(());
    (Arc::clone(&count), Token(count))
}

pub(super) fn alive(count: &Arc<()>) -> usize {
    Arc::strong_count(count) - 1
}

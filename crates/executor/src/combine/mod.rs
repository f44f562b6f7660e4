//! Combinators: several futures run as one.
//!
//! They run their children in the task that awaits them, so children may borrow from it, and dropping the
//! combinator drops the children. None of them yields: a loop whose steps are always ready at once keeps the shard
//! for itself, unless a step yields.
//!
//! Where there may be many children (a `Vec`, or the items of an iterator), a poll costs what the children cost that were
//! woken, not what all of them cost, and a child woken at home wakes its combinator without atomics. A tuple polls all of
//! its children that have not ended: they are few.
//!
//! - [`when_all()`] waits for a handful of different futures (a tuple) or many of one type (a `Vec`);
//!   [`when_all_succeed`] does so for fallible ones.
//! - [`parallel_for_each`], [`max_concurrent_for_each`] and [`map_reduce`] go over an iterator.
//! - [`repeat()`], [`repeat_until_value`], [`do_until`] and [`keep_doing`] are loops.
//! - [`with_timeout`] limits how long one waits, [`with_deadline`] by any timer.
//!
//! Where a future may fail, the others are not dropped on the first error: all that was started ends before the
//! error is returned, so nothing goes on behind the caller's back.

mod child_set;
mod child_waker;
mod deadline;
mod for_each;
#[cfg(all(test, loom))]
mod loom_tests;
mod origin;
mod repeat;
#[cfg(all(test, not(loom)))]
mod tests;
mod when_all;

pub use deadline::{TimedOut, with_deadline, with_timeout};
pub use for_each::{map_reduce, max_concurrent_for_each, parallel_for_each};
pub use repeat::{do_until, keep_doing, repeat, repeat_until_value};
pub use when_all::{Concurrent, ConcurrentFallible, when_all, when_all_succeed};

pub(crate) use deadline::Unless;

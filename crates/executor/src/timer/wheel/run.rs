//! Sorted nodes, one run per level of a wheel.

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ptr::NonNull;

use super::{LEVELS, Node};

/// How many entries an empty run keeps room for.
pub(super) const KEPT: usize = 128;
/// How many nodes ahead of the one that fires are brought into the cache.
const PREFETCH_DISTANCE: usize = 8;
#[cfg(all(target_arch = "x86_64", not(miri)))]
const CACHE_LINE_BYTES: usize = 64;

/// The runs of all levels, and that of the nodes whose deadline had passed when they were armed.
///
/// A node may leave at any time, and does so by [`Runs::strike`] before it ends. The last entry of a run is
/// always live.
pub(super) struct Runs<T> {
    /// Latest first.
    runs: [Vec<Entry<T>>; LEVELS + 1],
    /// The runs that are not empty, a bit each.
    active: u32,
}

struct Entry<T> {
    deadline: u64,
    sequence: u64,
    /// `None` once the node has been cancelled.
    node: Option<NonNull<Node<T>>>,
}

impl<T> Entry<T> {
    fn key(&self) -> (u64, u64) {
        (self.deadline, self.sequence)
    }
}

impl<T> Runs<T> {
    pub(super) const fn new() -> Self {
        Self { runs: [const { Vec::new() }; LEVELS + 1], active: 0 }
    }

    /// Adds a node to a run, out of order.
    pub(super) fn push(&mut self, run: usize, node: &Node<T>) {
        let (deadline, sequence) = (node.deadline.get(), node.sequence.get());
        self.runs[run].push(Entry { deadline, sequence, node: Some(NonNull::from(node)) });
    }

    /// Puts a run to which nodes were added in order.
    pub(super) fn sort(&mut self, run: usize) {
        self.active |= 1 << run;
        let entries = &mut self.runs[run];
        if entries.len() > 1 {
            entries.sort_unstable_by_key(|entry| Reverse(entry.key()));
        }
        self.tidy(run);
    }

    /// Strikes a node off its run.
    pub(super) fn strike(&mut self, run: usize, node: &Node<T>) {
        let key = (node.deadline.get(), node.sequence.get());
        let entries = &mut self.runs[run];
        let index = entries.binary_search_by(|entry| key.cmp(&entry.key())).expect("the node is in this run");
        entries[index].node = None;
        self.tidy(run);
    }

    /// Takes the earliest node if its deadline is at or before `now`.
    pub(super) fn pop_due(&mut self, now: u64) -> Option<NonNull<Node<T>>> {
        let (_, run) = self.firsts().min().filter(|(key, _)| key.0 <= now)?;
        let entries = &mut self.runs[run];
        let node = entries.pop()?.node;
        if let Some(Entry { node: Some(soon), .. }) = entries.iter().nth_back(PREFETCH_DISTANCE) {
            prefetch(*soon);
        }
        self.tidy(run);
        node
    }

    /// The earliest deadline, or the end of time if there is none.
    pub(super) fn earliest(&self) -> u64 {
        self.firsts().map(|(key, _)| key.0).min().unwrap_or(u64::MAX)
    }

    /// The earliest of each run that is not empty.
    fn firsts(&self) -> impl Iterator<Item = ((u64, u64), usize)> {
        let mut active = self.active;
        core::iter::from_fn(move || {
            let run = active.trailing_zeros() as usize;
            let first = self.runs.get(run)?.last()?;
            active &= active - 1;
            Some((first.key(), run))
        })
    }

    /// Removes what was struck off from the end of a run.
    fn tidy(&mut self, run: usize) {
        let entries = &mut self.runs[run];
        while entries.pop_if(|last| last.node.is_none()).is_some() {}
        if entries.is_empty() {
            self.active &= !(1 << run);
            entries.shrink_to(KEPT);
        }
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn capacity(&self) -> usize {
        self.runs.iter().map(Vec::capacity).sum()
    }
}

/// Brings a node into the cache that is going to fire soon. With many timers armed its memory has not been looked
/// at for long, and without this firing waits for one cache miss after the other.
#[inline]
fn prefetch<T>(node: NonNull<Node<T>>) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    for line in 0..size_of::<Node<T>>().div_ceil(CACHE_LINE_BYTES) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = node.as_ptr().cast::<i8>().wrapping_add(line * CACHE_LINE_BYTES);
        // SAFETY: a prefetch reads nothing that the program could see and never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = node;
}

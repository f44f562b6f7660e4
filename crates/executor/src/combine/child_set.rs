//! The children of a combinator: futures polled only when they were woken themselves.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use super::child_waker::{CHILDREN_PER_GROUP, WakeGroup};

/// How far a poll of the parent has come: it looks at each group once, so a child that wakes itself has to wait for
/// the parent's next turn.
#[derive(Default)]
struct Sweep {
    /// The next group to look at.
    next_group: usize,
    /// Woken children of the group before it that have yet to be polled, a bit for each.
    woken: u64,
}

/// A set of futures that run at once, each with something (`K`) by which the owner knows it.
///
/// A poll costs one look per group of 64 children and one poll per child that was woken. Memory of a child that ended
/// is used again for the next one.
pub(super) struct ChildSet<K, F> {
    children: Vec<Pin<Box<Option<F>>>>,
    keys: Vec<Option<K>>,
    /// Places of children that ended.
    free: Vec<usize>,
    groups: Vec<WakeGroup>,
    sweep: Sweep,
}

impl<K, F: Future> ChildSet<K, F> {
    pub(super) fn new() -> Self {
        Self { children: Vec::new(), keys: Vec::new(), free: Vec::new(), groups: Vec::new(), sweep: Sweep::default() }
    }

    /// How many have not ended.
    pub(super) fn len(&self) -> usize {
        self.children.len() - self.free.len()
    }

    /// Adds a child and polls it once; answers its output if it ended at that.
    ///
    /// To be followed by [`poll_next`](Self::poll_next) until that is pending.
    pub(super) fn start(&mut self, key: K, child: F, cx: &mut Context<'_>) -> Option<(K, F::Output)> {
        self.adopt(cx.waker());
        let place = match self.free.pop() {
            Some(place) => {
                self.children[place].set(Some(child));
                self.keys[place] = Some(key);
                place
            }
            None => {
                self.children.push(Box::pin(Some(child)));
                self.keys.push(Some(key));
                self.children.len() - 1
            }
        };
        if place / CHILDREN_PER_GROUP == self.groups.len() {
            self.groups.push(WakeGroup::new(cx.waker().clone()));
        }
        self.poll_child(place)
    }

    /// Polls woken children until one ends. Ready with `None` if there are no children.
    ///
    /// Who stops before it is pending must see to being polled again.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(K, F::Output)>> {
        self.adopt(cx.waker());
        while let Some(place) = self.next_woken() {
            if let Some(ended) = self.poll_child(place) {
                return Poll::Ready(Some(ended));
            }
        }
        if self.len() == 0 { Poll::Ready(None) } else { Poll::Pending }
    }

    /// Sees to it that the children wake `parent`, which may have changed since the last poll.
    fn adopt(&mut self, parent: &Waker) {
        if self.groups.first().is_none_or(|group| group.wakes(parent)) {
            return;
        }
        for group in &mut self.groups {
            *group = WakeGroup::new(parent.clone());
            // They know only wakers of the old parent.
            group.set_all_woken();
        }
    }

    /// The place of a child that was woken since its last poll, or `None` at the end of the sweep.
    fn next_woken(&mut self) -> Option<usize> {
        while self.sweep.woken == 0 {
            let Some(group) = self.groups.get(self.sweep.next_group) else {
                self.sweep = Sweep::default();
                return None;
            };
            self.sweep = Sweep { next_group: self.sweep.next_group + 1, woken: group.take_woken() };
        }
        let child = self.sweep.woken.trailing_zeros() as usize;
        self.sweep.woken &= self.sweep.woken - 1;
        Some((self.sweep.next_group - 1) * CHILDREN_PER_GROUP + child)
    }

    fn poll_child(&mut self, place: usize) -> Option<(K, F::Output)> {
        // A place without a child was woken late.
        let child = self.children.get_mut(place)?.as_mut();
        let waker = self.groups[place / CHILDREN_PER_GROUP].waker(place % CHILDREN_PER_GROUP);
        let Poll::Ready(output) = child.as_pin_mut()?.poll(&mut Context::from_waker(&waker)) else { return None };
        self.children[place].set(None);
        self.free.push(place);
        self.keys[place].take().map(|key| (key, output))
    }
}

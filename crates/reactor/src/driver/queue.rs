//! A queue of which most sockets hold one item at most.

use std::collections::VecDeque;

/// Holds one item in place. Memory for more is given back when the last of them has moved up, so that a socket that waits
/// holds none.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    /// None only if nothing is behind it.
    first: Option<T>,
    /// What is behind the first.
    #[expect(clippy::box_collection, reason = "a socket that waits has room for a pointer only")]
    rest: Option<Box<VecDeque<T>>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { first: None, rest: None }
    }
}

impl<T> Queue<T> {
    pub(crate) fn push_back(&mut self, item: T) {
        if self.first.is_none() {
            self.first = Some(item);
        } else {
            self.rest.get_or_insert_default().push_back(item);
        }
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let first = self.first.take();
        if let Some(rest) = &mut self.rest {
            self.first = rest.pop_front();
            if rest.is_empty() {
                self.rest = None;
            }
        }
        first
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    pub(crate) fn front_mut(&mut self) -> Option<&mut T> {
        self.first.as_mut()
    }

    /// All items, the first one first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(self.rest.iter().flat_map(|rest| rest.iter()))
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }
}

/// Takes items off, first ones first.
impl<T> Iterator for Queue<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_in_order_whether_they_are_in_place_or_not() {
        let mut queue = Queue::default();
        (0..5).for_each(|n| queue.push_back(n));
        assert!(queue.iter().copied().eq(0..5));
        assert_eq!((queue.pop_front(), queue.pop_front(), queue.len()), (Some(0), Some(1), 3));
        queue.push_back(5);
        *queue.front_mut().expect("it holds items") += 10;
        assert_eq!(queue.front(), Some(&12));
        assert!(queue.by_ref().eq([12, 3, 4, 5]));
        assert_eq!((queue.len(), queue.front()), (0, None));
    }

    #[test]
    fn it_keeps_no_memory_for_one_item() {
        let mut queue = Queue::default();
        (0..3).for_each(|n| queue.push_back(n));
        queue.pop_front();
        assert!(queue.rest.is_some());
        queue.pop_front();
        assert!(queue.rest.is_none() && queue.len() == 1);
    }
}

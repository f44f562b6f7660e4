//! Paths to values, segment by segment.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::Range;

use super::pattern::{MAX_PARAMETERS, Segment};
use super::percent;

/// Where the parameters of a path are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spans {
    spans: [(u16, u16); MAX_PARAMETERS],
    count: u8,
}

impl Spans {
    /// A path has at most 65,535 bytes, and a pattern at most [`MAX_PARAMETERS`] parameters.
    fn push(&mut self, start: usize, end: usize) {
        if let Some(span) = self.spans.get_mut(usize::from(self.count)) {
            *span = (low(start), low(end));
            self.count += 1;
        }
    }

    fn pop(&mut self) {
        self.count -= 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Where each parameter lies, from the left.
    pub(super) fn iter(&self) -> impl Iterator<Item = Range<usize>> {
        self.spans[..usize::from(self.count)].iter().map(|&(start, end)| usize::from(start)..usize::from(end))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a path has at most 65,535 bytes")]
const fn low(offset: usize) -> u16 {
    offset as u16
}

/// A node: what may follow the segments that lead to it.
#[derive(Debug)]
pub(super) struct Node<T> {
    /// By decoded segment: first by length, then by bytes.
    exact: Vec<(Box<[u8]>, Node<T>)>,
    parameter: Option<Box<Node<T>>>,
    /// Where the rest of the path may be anything.
    remainder: Option<T>,
    /// Where the path ends.
    end: Option<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { exact: Vec::new(), parameter: None, remainder: None, end: None }
    }
}

impl<T> Node<T> {
    /// The place of the value that a pattern leads to.
    pub(super) fn place(&mut self, segments: &[Segment]) -> &mut Option<T> {
        let Some((first, rest)) = segments.split_first() else { return &mut self.end };
        match first {
            Segment::Exact(text) => {
                let found = self.exact.binary_search_by(|(other, _)| order(other, text.len(), text.iter().copied()));
                let at = found.unwrap_or_else(|at| {
                    self.exact.insert(at, (text.clone(), Self::default()));
                    at
                });
                self.exact[at].1.place(rest)
            }
            Segment::Parameter => self.parameter.get_or_insert_default().place(rest),
            Segment::Remainder => &mut self.remainder,
        }
    }

    /// The value of a path, whose first slash was looked at; the spans are those of its parameters.
    ///
    /// What fits exactly is tried before a parameter, and that before a remainder. A node is looked at once at most, and nodes
    /// at the same depth only if their patterns fit the same paths so far.
    pub(super) fn find<'a>(&'a self, path: &[u8], start: usize, spans: &mut Spans) -> Option<&'a T> {
        if self.parameter.is_some() || !self.exact.is_empty() {
            let (end, is_encoded) = segment(path, start);
            if let Some(child) = self.child(&path[start..end], is_encoded)
                && let Some(found) = child.find_behind(path, end, spans)
            {
                return Some(found);
            }
            if let Some(child) = &self.parameter
                && (end > start || planted::is("empty_parameter"))
            {
                spans.push(start, end);
                let found = child.find_behind(path, end, spans);
                if found.is_some() {
                    return found;
                }
                if !planted::is("stale_span") {
                    spans.pop();
                }
            }
        }
        let remainder = self.remainder.as_ref()?;
        spans.push(start, path.len());
        Some(remainder)
    }

    /// Goes on where a segment ends.
    #[inline]
    fn find_behind<'a>(&'a self, path: &[u8], end: usize, spans: &mut Spans) -> Option<&'a T> {
        if end == path.len() { self.end.as_ref() } else { self.find(path, end + 1, spans) }
    }

    /// The child that a segment leads to exactly.
    #[inline]
    fn child(&self, segment: &[u8], is_encoded: bool) -> Option<&Self> {
        if is_encoded && !planted::is("encoded_is_other") {
            return self.child_encoded(segment);
        }
        let found = self.exact.binary_search_by(|(other, _)| match other.len().cmp(&segment.len()) {
            // Processors take long to compare no bytes at the address of an empty slice, where there is no memory.
            Ordering::Equal if segment.is_empty() => Ordering::Equal,
            Ordering::Equal => (**other).cmp(segment),
            unequal => unequal,
        });
        Some(&self.exact[found.ok()?].1)
    }

    #[cold]
    fn child_encoded(&self, segment: &[u8]) -> Option<&Self> {
        if !percent::is_valid(segment) {
            return None;
        }
        let len = percent::decoded(segment).count();
        let found = self.exact.binary_search_by(|(other, _)| order(other, len, percent::decoded(segment)));
        Some(&self.exact[found.ok()?].1)
    }

    /// All values.
    pub(super) fn visit(&self, visitor: &mut impl FnMut(&T)) {
        self.end.iter().chain(&self.remainder).for_each(&mut *visitor);
        self.exact.iter().for_each(|(_, child)| child.visit(visitor));
        self.parameter.iter().for_each(|child| child.visit(visitor));
    }
}

fn order(one: &[u8], len: usize, other: impl Iterator<Item = u8>) -> Ordering {
    one.len().cmp(&len).then_with(|| one.iter().copied().cmp(other))
}

/// Where a segment ends, and whether something in it is percent-encoded.
#[inline]
fn segment(path: &[u8], start: usize) -> (usize, bool) {
    let mut is_encoded = false;
    for (at, &byte) in path.iter().enumerate().skip(start) {
        if byte == b'/' {
            return (at, is_encoded);
        }
        is_encoded |= byte == b'%';
    }
    (path.len(), is_encoded)
}

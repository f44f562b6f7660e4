//! What is remembered of names, for as long as it is true.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;

use sunstar_executor::Instant;

use super::NameError;
use super::message::{Data, RecordKind};

/// What was asked.
pub(super) type Key = (Box<str>, RecordKind);

/// What came of it.
pub(super) type Answer = Result<Rc<[Data]>, NameError>;

/// Answers, at most so many.
#[derive(Debug)]
pub(super) struct Cache {
    answers: BTreeMap<Key, (Answer, Instant)>,
    limit: usize,
}

impl Cache {
    pub(super) fn new(limit: usize) -> Self {
        Self { answers: BTreeMap::new(), limit }
    }

    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    /// An answer, if one is remembered and still true.
    pub(super) fn get(&mut self, now: Instant, key: &Key) -> Option<Answer> {
        let (answer, until) = self.answers.get(key)?;
        if *until > now || planted::is("dns_stale_answer") {
            return Some(answer.clone());
        }
        self.answers.remove(key);
        None
    }

    /// Remembers an answer. If there are as many as may be, those that are over are forgotten, or else the one that is over first.
    pub(super) fn insert(&mut self, now: Instant, key: Key, answer: Answer, until: Instant) {
        if self.answers.len() >= self.limit && !self.answers.contains_key(&key) {
            self.answers.retain(|_, (_, until)| *until > now);
        }
        if self.answers.len() >= self.limit && !self.answers.contains_key(&key) {
            let first = self.answers.iter().min_by_key(|(_, (_, until))| *until).map(|(key, _)| key.clone());
            if let Some(first) = first {
                self.answers.remove(&first);
            }
        }
        if self.answers.len() < self.limit || self.answers.contains_key(&key) {
            self.answers.insert(key, (answer, until));
        }
    }
}

//! HTTP/1.1: requests that were made before, and answers that are known by their framing.

mod answer;
mod chunks;
pub(crate) mod request;

use std::cell::{Cell, RefCell};

use sunstar::packet::Buffer;

use super::{Heard, Protocol, Verdict, in_buffer};
use crate::fault::Fault;
use answer::{Answer, Known};
use request::Requests;

/// HTTP/1.1 on all connections of a shard.
pub(crate) struct Http {
    requests: Vec<Prepared>,
    /// How often a request stands in the bytes that are kept of it.
    times: usize,
    /// Which of them is next.
    next: Cell<usize>,
    is_head: bool,
    expected_status: Option<u16>,
    known: RefCell<Known>,
}

/// The bytes of a request.
struct Prepared {
    /// So often as requests may be sent at once.
    kept: Buffer,
    len_bytes: usize,
    /// With the wish that the connection ends.
    last: Buffer,
}

impl Http {
    /// Makes the bytes, where the shard's network sends without copying them. At most `at_once` requests are sent at once.
    pub(crate) fn new(requests: &Requests, at_once: usize) -> Self {
        // Of several, no two that follow each other are the same.
        let times = if requests.kept.len() == 1 { at_once } else { 1 };
        let prepared = requests.kept.iter().zip(&requests.last).map(|(kept, last)| Prepared {
            kept: in_buffer(&kept.repeat(times)),
            len_bytes: kept.len(),
            last: in_buffer(last),
        });
        Self {
            requests: prepared.collect(),
            times,
            next: Cell::new(0),
            is_head: requests.is_head,
            expected_status: requests.expected_status,
            known: RefCell::default(),
        }
    }

    fn next(&self) -> &Prepared {
        let at = self.next.get();
        self.next.set(if at + 1 == self.requests.len() { 0 } else { at + 1 });
        &self.requests[at]
    }

    fn verdict(&self, status: u16) -> Verdict {
        let is_good = self.expected_status.map_or((200..400).contains(&status), |expected| expected == status);
        if is_good { Verdict::Good } else { Verdict::Bad(Fault::WrongStatus) }
    }
}

impl Protocol for Http {
    type Session = Answer;

    fn session(&self) -> Answer {
        Answer::new(self.is_head)
    }

    #[inline]
    fn ask(&self, _session: &mut Answer, count: usize, is_last: bool, mut send: impl FnMut(Buffer)) {
        if is_last {
            send(self.next().last.clone());
        } else if let [only] = &*self.requests {
            let mut left = count;
            while left >= self.times {
                send(only.kept.clone());
                left -= self.times;
            }
            if left > 0 {
                send(only.kept.slice(..left * only.len_bytes));
            }
        } else {
            (0..count).for_each(|_| send(self.next().kept.clone()));
        }
    }

    #[inline]
    fn hear(&self, answer: &mut Answer, bytes: &mut Buffer) -> Result<Heard, Fault> {
        if bytes.is_empty() {
            return Ok(Heard::More);
        }
        Ok(match answer.take(bytes, &mut self.known.borrow_mut())? {
            Some(end) => {
                bytes.advance(end);
                let (verdict, is_last) = (self.verdict(answer.status()), !answer.keeps_alive());
                Heard::Answer { place: 0, verdict, is_last }
            }
            None => Heard::More,
        })
    }

    fn hear_end(&self, answer: &mut Answer) -> Option<Verdict> {
        answer.ends_with_connection().then(|| self.verdict(answer.status()))
    }
}

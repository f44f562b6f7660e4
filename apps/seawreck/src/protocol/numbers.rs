//! Which answer belongs to which request where both are datagrams, of which any may be lost and any may overtake others: by a number.

use std::collections::VecDeque;

/// The numbers of so many requests without an answer, that nobody waits for any more, are not given to others as long as there are others.
const FORGOTTEN: usize = 64;

/// The requests of one socket that are under way, the oldest first, each with what is to be remembered of it.
pub(crate) struct Numbered<T> {
    requests: VecDeque<(u16, T)>,
    /// Whose answers may still come, and then must not be taken for those to other requests.
    forgotten: VecDeque<u16>,
    next: u16,
    /// The largest number.
    last: u16,
}

impl<T> Numbered<T> {
    /// Nothing is under way. Numbers go on from `first` to `last` and then from zero; there must be more of them than requests under way at any time.
    pub(crate) const fn new(first: u16, last: u16) -> Self {
        Self { requests: VecDeque::new(), forgotten: VecDeque::new(), next: first, last }
    }

    /// A request is under way from now on; answers with its number.
    pub(crate) fn ask(&mut self, request: T) -> u16 {
        // One that was lost keeps its number while others come around to it.
        while self.place(self.next).is_some() || self.forgotten.contains(&self.next) {
            self.next = self.following();
        }
        let number = self.next;
        self.next = self.following();
        self.requests.push_back((number, request));
        number
    }

    const fn following(&self) -> u16 {
        if self.next == self.last { 0 } else { self.next + 1 }
    }

    /// How many requests under way are older than the one of this number; nothing if there is none.
    pub(crate) fn place(&self, number: u16) -> Option<usize> {
        // They mostly come in their order.
        self.requests.iter().position(|(other, _)| *other == number)
    }

    /// What is remembered of a request.
    pub(crate) fn at(&mut self, place: usize) -> &mut T {
        &mut self.requests[place].1
    }

    /// A request is answered.
    pub(crate) fn answered(&mut self, place: usize) -> Option<T> {
        self.requests.remove(place).map(|(_, request)| request)
    }

    /// Nobody waits for the answer to a request any more.
    pub(crate) fn forget(&mut self, place: usize) -> Option<T> {
        let (number, request) = self.requests.remove(place)?;
        if self.forgotten.len() == FORGOTTEN {
            self.forgotten.pop_front();
        }
        self.forgotten.push_back(number);
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_again_only_when_nobody_can_answer_to_it_any_more() {
        let mut numbered = Numbered::new(254, 254);
        let lost: Vec<u16> = (0..100).map(|_| numbered.ask(())).collect();
        assert_eq!(lost[..3], [254, 0, 1]);
        // These come around to the others' numbers, and pass them by.
        for _ in 0..1000 {
            let number = numbered.ask(());
            assert!(!lost.contains(&number));
            assert_eq!(numbered.place(number), Some(100));
            numbered.answered(100);
        }
        (0..100).for_each(|_| assert!(numbered.forget(0).is_some()));
        for _ in 0..1000 {
            let number = numbered.ask(());
            assert!(!lost[100 - FORGOTTEN..].contains(&number));
            numbered.answered(0);
        }
    }
}

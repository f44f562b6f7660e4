//! Which answer belongs to which request where both are datagrams, of which any may be lost and any may overtake others: by a number.

use std::collections::VecDeque;

/// The most requests that may be under way on a socket.
pub(crate) const MOST_UNDER_WAY: usize = 100;
/// The numbers of so many requests that nobody waits for any more are kept from others at most. More would cost more room than it is
/// worth: so many are lost by a server that is silent for over a hundred timeouts.
const MOST_FORGOTTEN: usize = 16_384;

/// The requests of one socket that are under way, the oldest first, each with what is to be remembered of it.
pub(crate) struct Numbered<T> {
    requests: VecDeque<(u16, T)>,
    /// Whose answers may still come, and then must not be taken for those to other requests.
    forgotten: VecDeque<u16>,
    /// A bit for each number that is among them; empty until one is.
    is_forgotten: Vec<u64>,
    next: u16,
    /// The largest number.
    last: u16,
}

impl<T> Numbered<T> {
    /// Nothing is under way. Numbers go on from `first` to `last` and then from zero; there must be more than [`MOST_UNDER_WAY`] of them.
    pub(crate) const fn new(first: u16, last: u16) -> Self {
        Self { requests: VecDeque::new(), forgotten: VecDeque::new(), is_forgotten: Vec::new(), next: first, last }
    }

    /// A request is under way from now on; answers with its number.
    pub(crate) fn ask(&mut self, request: T) -> u16 {
        // One that was lost keeps its number while others come around to it.
        while self.is_forgotten(self.next) || self.place(self.next).is_some() {
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
        self.is_forgotten.resize(usize::from(self.last) / 64 + 1, 0);
        // All others are left for requests that are under way.
        let most = (usize::from(self.last) + 1 - MOST_UNDER_WAY).min(MOST_FORGOTTEN);
        if self.forgotten.len() == most
            && let Some(oldest) = self.forgotten.pop_front()
        {
            self.is_forgotten[usize::from(oldest) / 64] &= !(1 << (oldest % 64));
        }
        self.forgotten.push_back(number);
        self.is_forgotten[usize::from(number) / 64] |= 1 << (number % 64);
        Some(request)
    }

    fn is_forgotten(&self, number: u16) -> bool {
        self.is_forgotten.get(usize::from(number) / 64).is_some_and(|bits| bits >> (number % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_again_only_when_nobody_can_answer_to_it_any_more() {
        let mut numbered = Numbered::new(254, 254);
        let lost: Vec<u16> = (0..99).map(|_| numbered.ask(())).collect();
        assert_eq!(lost[..3], [254, 0, 1]);
        // These come around to the others' numbers, and pass them by.
        for _ in 0..1000 {
            let number = numbered.ask(());
            assert!(!lost.contains(&number));
            assert_eq!(numbered.place(number), Some(99));
            numbered.answered(99);
        }
        (0..99).for_each(|_| assert!(numbered.forget(0).is_some()));
        for _ in 0..1000 {
            let number = numbered.ask(());
            assert!(!lost.contains(&number));
            numbered.answered(0);
        }
    }

    #[test]
    fn as_many_forgotten_numbers_are_kept_as_there_is_room_for() {
        let mut numbered = Numbered::new(0, 254);
        let mut lost = Vec::new();
        // A server stands still for some timeouts, each of which costs all that is under way.
        for _ in 0..5 {
            let asked: Vec<u16> = (0..MOST_UNDER_WAY).map(|_| numbered.ask(())).collect();
            let kept: &[u16] = &lost[lost.len().saturating_sub(255 - MOST_UNDER_WAY)..];
            assert!(asked.iter().all(|number| !kept.contains(number)), "{asked:?} {kept:?}");
            (0..MOST_UNDER_WAY).for_each(|_| assert!(numbered.forget(0).is_some()));
            lost.extend(asked);
        }
        let mut many = Numbered::new(0, u16::MAX);
        let asked: Vec<u16> = (0..40_000).map(|_| (many.ask(()), many.forget(0)).0).collect();
        assert_eq!((many.forgotten.len(), asked.last()), (MOST_FORGOTTEN, Some(&39_999)));
    }
}

//! A barrier that can be given up.

use std::sync::{Condvar, Mutex, PoisonError};

/// Where a fixed number of threads meet, again and again, unless one of them cannot come.
#[derive(Debug)]
pub(super) struct Rendezvous {
    parties: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    arrived: usize,
    /// What those who have arrived brought.
    brought: usize,
    /// What all brought to the last meeting. It stands until they have all come again, so nobody misses it.
    total: usize,
    meetings: u64,
    abandoned: bool,
}

/// Somebody will not come: the meeting does not take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abandoned;

impl Rendezvous {
    pub(super) fn new(parties: usize) -> Self {
        Self { parties, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Waits until all parties have come, each with a number, and answers the sum of these.
    pub(super) fn meet(&self, number: usize) -> Result<usize, Abandoned> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.abandoned {
            return Err(Abandoned);
        }
        let meeting = state.meetings;
        state.arrived += 1;
        state.brought += number;
        if state.arrived == self.parties {
            state.arrived = 0;
            state.total = std::mem::take(&mut state.brought);
            state.meetings += 1;
            self.changed.notify_all();
        }
        while state.meetings == meeting && !state.abandoned {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.meetings == meeting { Err(Abandoned) } else { Ok(state.total) }
    }

    /// Ends this and all later meetings.
    pub(super) fn abandon(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).abandoned = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    #[test]
    fn nobody_leaves_before_all_have_come() {
        let rendezvous = Rendezvous::new(3);
        let arrived = AtomicUsize::new(0);
        thread::scope(|scope| {
            for party in 0..3 {
                let (rendezvous, arrived) = (&rendezvous, &arrived);
                scope.spawn(move || {
                    for meeting in 1..=100 {
                        arrived.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(rendezvous.meet(party * meeting), Ok(3 * meeting), "everybody learns the sum");
                        assert!(arrived.load(Ordering::SeqCst) >= 3 * meeting);
                    }
                });
            }
        });
    }

    #[test]
    fn who_waits_is_told_when_somebody_gives_up() {
        let rendezvous = Rendezvous::new(2);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| rendezvous.meet(1));
            rendezvous.abandon();
            assert_eq!(waiting.join().expect("no panic"), Err(Abandoned));
        });
        assert_eq!(rendezvous.meet(1), Err(Abandoned), "later ones are told at once");
    }
}

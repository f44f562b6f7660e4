//! How the networks of a host end: first the connections of all shards, which need the addresses, then the addresses.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::time::Duration;

use sunstar_executor::Instant;

use crate::spread::Spread;

/// So long addresses that have to be given back wait for connections. Platforms let shards linger for a second, in which that must be done.
const PATIENCE: Duration = Duration::from_millis(700);

/// How far the end of a host's networks is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// There are connections, on whichever shard.
    Waits,
    /// There are, and addresses are given back all the same: a server that is not told keeps them for nobody.
    Leaves,
    /// There are none.
    Over,
}

/// The end of a shard's network.
#[derive(Default)]
pub(crate) struct Ending {
    /// What the shards share, if there are several.
    spread: OnceCell<Arc<Spread>>,
    begun_at: Cell<Option<Instant>>,
    is_quiet: Cell<bool>,
}

impl Ending {
    pub(crate) fn set_spread(&self, spread: &Arc<Spread>) {
        // There is one.
        let _ = self.spread.set(Arc::clone(spread));
    }

    /// The shard ends, with connections or not.
    pub(crate) fn look(&self, now: Instant, has_connections: bool) -> Phase {
        let begun_at = self.begun_at.get().unwrap_or(now);
        self.begun_at.set(Some(begun_at));
        if !has_connections {
            self.note_quiet();
        }
        let others = self.spread.get().is_some_and(|spread| {
            let own = u32::from(!self.is_quiet.get());
            spread.quiet() + own < spread.shards()
        });
        match has_connections || others {
            false => Phase::Over,
            true if now < begun_at + PATIENCE => Phase::Waits,
            true => Phase::Leaves,
        }
    }

    /// Nothing is said for the shard's connections any more.
    pub(crate) fn note_quiet(&self) {
        if !self.is_quiet.replace(true)
            && let Some(spread) = self.spread.get()
        {
            spread.note_quiet();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn addresses_stay_for_connections_and_not_for_ever() {
        let ending = Ending::default();
        assert_eq!(ending.look(at(1_000), true), Phase::Waits);
        assert_eq!(ending.look(at(1_699), true), Phase::Waits);
        assert_eq!(ending.look(at(1_700), true), Phase::Leaves);
        assert_eq!(ending.look(at(1_701), false), Phase::Over);
        let ending = Ending::default();
        assert_eq!(ending.look(at(1_000), false), Phase::Over);
    }

    #[test]
    fn addresses_stay_for_other_shards_connections() {
        let spread = Arc::new(Spread::of(3));
        let endings: [Ending; 3] = Default::default();
        endings.iter().for_each(|ending| ending.set_spread(&spread));
        assert_eq!(endings[0].look(at(0), false), Phase::Waits, "others have not even begun to end");
        assert_eq!(endings[1].look(at(10), false), Phase::Waits);
        assert_eq!(endings[2].look(at(10), true), Phase::Waits);
        assert_eq!(endings[0].look(at(20), false), Phase::Waits);
        assert_eq!(endings[0].look(at(700), false), Phase::Leaves, "however long they take");
        endings[2].note_quiet();
        endings[2].note_quiet();
        assert_eq!(endings.map(|ending| ending.look(at(800), false)), [Phase::Over; 3]);
    }
}

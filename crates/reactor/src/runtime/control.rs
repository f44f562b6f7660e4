//! What the shards of one runtime share: how they are told to stop, and where they meet.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use sunstar_packet::Doorbell;

use super::RunError;
use super::rendezvous::{Abandoned, Rendezvous};
use crate::bell::EventBell;
use crate::stop::Stop;

/// The controls of one runtime.
pub(crate) struct Control {
    stop: Arc<Stop>,
    /// Set when the shards are to leave their loops.
    ending: AtomicBool,
    rendezvous: Rendezvous,
    bells: Vec<OnceLock<Arc<EventBell>>>,
    failure: Mutex<Option<RunError>>,
}

impl Control {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            stop: Arc::default(),
            ending: AtomicBool::new(false),
            rendezvous: Rendezvous::new(shards),
            bells: (0..shards).map(|_| OnceLock::new()).collect(),
            failure: Mutex::new(None),
        }
    }

    /// The request to stop.
    pub(crate) fn stop(&self) -> &Arc<Stop> {
        &self.stop
    }

    /// Requests a stop, and lets shard 0 see it.
    pub(crate) fn request_stop(&self) {
        self.stop.request();
        self.ring(0);
    }

    /// Requests a stop because of a signal.
    pub(super) fn signal_stop(&self) {
        self.stop.note_signal();
        self.request_stop();
    }

    /// Makes all shards leave their loops.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Release);
        (0..self.bells.len()).for_each(|shard| self.ring(shard));
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Lets a shard be woken.
    pub(super) fn hang_bell(&self, shard: usize, bell: Arc<EventBell>) {
        let _ = self.bells[shard].set(bell);
    }

    fn ring(&self, shard: usize) {
        if let Some(bell) = self.bells[shard].get() {
            bell.ring();
        }
    }

    /// Waits for all shards; fails if one of them could not start.
    pub(super) fn meet(&self) -> Result<(), Abandoned> {
        self.meet_with(0).map(drop)
    }

    /// Waits for all shards, each with a number, and answers the sum; fails as [`Control::meet`].
    pub(super) fn meet_with(&self, number: usize) -> Result<usize, Abandoned> {
        self.rendezvous.meet(number)
    }

    /// Notes why the runtime cannot start, and lets nobody wait any longer. The first reason counts.
    pub(super) fn fail(&self, reason: RunError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.rendezvous.abandon();
    }

    pub(super) fn take_failure(&self) -> Option<RunError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

//! A condition variable.

use core::cell::Cell;
use core::fmt;

use super::wait_list::{WaitList, Waitable, Waiter};

/// The condition variable was broken: what it announced will not happen any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CondvarBroken;

impl fmt::Display for CondvarBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the condition variable was broken")
    }
}

impl core::error::Error for CondvarBroken {}

#[derive(Clone, Copy)]
pub(crate) enum Notice {
    One,
    All,
    Broken,
}

/// Announces changes of shared state to those who wait for a condition.
///
/// There is no lock to hand over: on one shard nothing runs between a look at the state and the wait. A notification
/// reaches only those who wait at that moment.
#[derive(Default)]
pub struct Condvar {
    broken: Cell<bool>,
    waiters: WaitList<(), Notice>,
}

impl Condvar {
    /// A condition variable for which nobody waits.
    pub const fn new() -> Self {
        Self { broken: Cell::new(false), waiters: WaitList::new() }
    }

    /// Waits for the next notification.
    ///
    /// If the future is dropped after [`notify_one`](Self::notify_one) chose it and before it noticed, the notification
    /// passes to the next waiter.
    ///
    /// # Errors
    /// [`CondvarBroken`] once [`break_all`](Self::break_all) was called.
    pub async fn wait(&self) -> Result<(), CondvarBroken> {
        match Waiter::new(self, ()).await {
            Notice::One | Notice::All => Ok(()),
            Notice::Broken => Err(CondvarBroken),
        }
    }

    /// Waits until `predicate` holds; looks at once and after every notification.
    ///
    /// # Errors
    /// [`CondvarBroken`] if it doesn't hold and [`break_all`](Self::break_all) was called.
    pub async fn wait_until(&self, mut predicate: impl FnMut() -> bool) -> Result<(), CondvarBroken> {
        while !predicate() {
            self.wait().await?;
        }
        Ok(())
    }

    /// Wakes the one who has waited longest, if anybody waits.
    pub fn notify_one(&self) {
        // Nobody waits: then the notification is meant for nobody.
        let _ = self.waiters.grant_front(Notice::One);
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        self.waiters.grant_all(Notice::All);
    }

    /// Lets everybody who waits, now or later, fail with [`CondvarBroken`].
    pub fn break_all(&self) {
        self.broken.set(true);
        self.waiters.grant_all(Notice::Broken);
    }

    /// How many wait.
    pub fn waiters(&self) -> usize {
        self.waiters.len()
    }
}

impl Waitable for Condvar {
    type Request = ();
    type Grant = Notice;

    fn list(&self) -> &WaitList<(), Notice> {
        &self.waiters
    }

    fn try_grant(&self, (): &()) -> Option<Notice> {
        self.broken.get().then_some(Notice::Broken)
    }

    fn returned(&self, (): &(), notice: Notice) {
        match notice {
            Notice::One => self.notify_one(),
            Notice::All | Notice::Broken => {}
        }
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").field("broken", &self.broken).field("waiters", &self.waiters()).finish()
    }
}

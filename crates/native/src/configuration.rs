//! How what one shard's stack is told reaches those of the others: by messages, in order.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use sunstar_executor::{ShardId, current, try_post};
use sunstar_tcpip::configuration::{Change, MAX_CHANGES};
use sunstar_tcpip::stack::{ConfigError, Stack};

use crate::network::Network;
use crate::spread::Spread;

/// Makes a change that another shard's stack has made.
fn apply(spread: &Arc<Spread>, change: &Change) {
    let Some(network) = Network::current_of(spread) else { return };
    let shared = network.shared();
    let now = shared.now();
    if let Err(error) = shared.state().stack.apply(now, change) {
        log::error!("shard {} does not follow {change:?}: {error}", current::shard_id().index());
    }
}

/// Addresses come and go seldom, and who runs the host wants to know them.
fn tell_log(change: &Change) {
    match change {
        Change::AddAddress { address, .. } => log::info!("this host has the address {address}"),
        Change::RemoveAddress { address, .. } => log::warn!("this host no longer has the address {address}"),
        Change::SetNameServers { servers, .. } if !servers.is_empty() => log::info!("name servers: {servers:?}"),
        _ => {}
    }
}

/// Is told of each change.
type Follower = dyn FnMut(&Change);

/// What the stack was told and other shards were not yet.
#[derive(Default)]
pub(crate) struct Changes {
    /// What their networks share with this one; none if they are not to be told.
    spread: Option<Arc<Spread>>,
    waiting: VecDeque<Change>,
    /// The first shard that was not told of the first change.
    next: usize,
    /// Who waits for the next change, or until all have been told.
    watchers: Vec<Waker>,
    /// Who is told of each change as soon as it is made.
    followers: Vec<Box<Follower>>,
}

impl Changes {
    /// Takes what the stack was told, as long as there is room, and tells the others; answers whether there was anything.
    pub(crate) fn take_in(&mut self, stack: &mut Stack, wakes: &mut Vec<Waker>) -> bool {
        let mut found = false;
        while self.waiting.len() < MAX_CHANGES
            && let Some(change) = stack.poll_change()
        {
            found = true;
            tell_log(&change);
            self.followers.iter_mut().for_each(|follow| follow(&change));
            self.waiting.push_back(change);
        }
        if !self.is_told() {
            self.tell();
        }
        if found || self.is_told() {
            wakes.append(&mut self.watchers);
        }
        found
    }

    /// Whether the other shards' networks have been told all.
    pub(crate) fn is_told(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Tells the other shards, as far as there is room for messages.
    fn tell(&mut self) {
        while let Some(change) = self.waiting.front() {
            let shards = if self.spread.is_some() { current::shard_count() } else { 0 };
            let others = ShardId::all(shards).skip(self.next);
            for (shard, spread) in others.zip(core::iter::repeat(self.spread.as_ref())) {
                let (Some(spread), change) = (spread.cloned(), change.clone()) else { break };
                let is_other = shard != current::shard_id();
                // One that has stopped needs to know nothing.
                let tell = move || apply(&spread, &change);
                if is_other && try_post(shard, tell).is_err_and(|refused| refused.is_full()) {
                    return;
                }
                self.next += 1;
            }
            self.next = 0;
            self.waiting.pop_front();
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl Network {
    /// Makes a change of the stack's configuration, for all shards if [`Network::share_configuration`] was called here.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn configure(&self, change: Change) -> Result<(), ConfigError> {
        let now = self.shared().now();
        self.shared().state().stack.configure(now, change)
    }

    /// Has what the current shard's stack is told ([`Stack::configure`]) told to the networks of all other shards, in order, until the
    /// shard ends. To be called once, on the shard that is to be told by others how the host is configured, after all networks were made
    /// ([`Network::with_spread`]). Without other shards nothing has to be told.
    pub fn share_configuration(&self) {
        self.shared().state().changes.spread = self.spread().cloned();
    }

    /// Has a function told of each change that the current shard's stack makes from now on and that all are to follow, as soon as it is
    /// made and before packets of it come or go. It runs inside of the network: it must not use sockets on it.
    pub fn follow_configuration(&self, follow: impl FnMut(&Change) + 'static) {
        self.shared().state().changes.followers.push(Box::new(follow));
    }

    /// Waits until the stack is as is wanted, which is looked at now and after each change of its configuration, and all changes are on
    /// their way to the other shards: a message that the main group sends them afterwards finds them configured. Dropping the future is safe.
    pub async fn configured(&self, mut is_wanted: impl FnMut(&Stack) -> bool) {
        poll_fn(|cx| {
            let mut state = self.shared().state();
            let is_told = state.changes.is_told() && !state.stack.has_change();
            if is_told && is_wanted(&state.stack) {
                return Poll::Ready(());
            }
            state.changes.watchers.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

//! How what one shard's stack is told reaches those of the others: by messages, in order.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use sunstar_executor::{ShardId, current, local, try_post};
use sunstar_tcpip::configuration::{Change, MAX_CHANGES};
use sunstar_tcpip::stack::{ConfigError, Stack};

use crate::network::Network;
use crate::shared::Shared;

/// The networks of the current shard that share what they are told with those of others.
#[derive(Default)]
struct Networks(RefCell<Vec<(u64, Weak<Shared>)>>);

impl Networks {
    fn find(id: u64) -> Option<Rc<Shared>> {
        let networks = local::get::<Self>()?;
        let networks = networks.0.borrow();
        networks.iter().find(|(other, _)| *other == id).and_then(|(_, shared)| shared.upgrade())
    }
}

/// Has the current shard's network be found by the number of what it shares.
pub(crate) fn register(id: u64, shared: &Rc<Shared>) {
    let networks = local::get::<Networks>().unwrap_or_else(|| {
        let networks = Rc::<Networks>::default();
        local::set(Rc::clone(&networks));
        networks
    });
    networks.0.borrow_mut().push((id, Rc::downgrade(shared)));
}

/// Makes a change that another shard's stack has made.
fn apply(id: u64, change: &Change) {
    let Some(shared) = Networks::find(id) else { return };
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

/// What the stack was told and other shards were not yet.
#[derive(Default)]
pub(crate) struct Changes {
    /// By which they find their networks; none if they are not to be told.
    id: Option<u64>,
    waiting: VecDeque<Change>,
    /// The first shard that was not told of the first change.
    next: usize,
    /// Who waits for the next change, or until all have been told.
    watchers: Vec<Waker>,
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
        let shards = if self.id.is_some() { current::shard_count() } else { 0 };
        while let (Some(change), id) = (self.waiting.front(), self.id.unwrap_or_default()) {
            for shard in ShardId::all(shards).skip(self.next) {
                let change = change.clone();
                let is_other = shard != current::shard_id();
                // One that has stopped needs to know nothing.
                if is_other && try_post(shard, move || apply(id, &change)).is_err_and(|refused| refused.is_full()) {
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
        self.shared().state().changes.id = self.spread_id();
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

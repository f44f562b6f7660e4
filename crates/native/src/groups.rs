//! Multicast groups of a host with several shards: one of them tells routers of those that any shard listens to.

use std::sync::Arc;

use sunstar_executor::{ShardId, current, try_post};
use sunstar_tcpip::stack::{GroupChange, Stack};

use crate::network::Network;
use crate::spread::{CONFIGURED, Spread};

/// Another shard listens to a group, or no more.
fn apply(spread: &Arc<Spread>, change: &GroupChange) {
    let Some(network) = Network::current_of(spread) else { return };
    let shared = network.shared();
    let now = shared.now();
    if let Err(error) = shared.state().stack.apply_group(now, change) {
        log::error!("shard {} can't tell of {change:?}: {error}", current::shard_id().index());
    }
}

/// What the shard that tells has not been told yet.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// What the networks share; none if this shard tells itself.
    pub(crate) spread: Option<Arc<Spread>>,
    /// There was no room for the message.
    refused: Option<GroupChange>,
}

impl Groups {
    /// Whether all that was taken out of the stack was told.
    pub(crate) fn is_told(&self) -> bool {
        self.refused.is_none()
    }

    /// Tells what has changed, as far as there is room for messages.
    pub(crate) fn tell(&mut self, stack: &mut Stack) {
        let Some(spread) = &self.spread else { return };
        let Some(telling) = ShardId::all(current::shard_count()).nth(CONFIGURED) else { return };
        while let Some(change) = self.refused.take().or_else(|| stack.poll_group()) {
            let spread = Arc::clone(spread);
            let told = try_post(telling, move || apply(&spread, &change));
            // One that has stopped needs to know nothing.
            if told.is_err_and(|refused| refused.is_full()) {
                self.refused = Some(change);
                return;
            }
        }
    }
}

//! Hosts of several shards: routers hear from one of them, since what one shard leaves another one may listen to.

use alloc::collections::VecDeque;
use core::net::IpAddr;

use super::{ConfigError, Listener, Stack};
use crate::interface::InterfaceId;
use crate::time::Instant;

/// A shard has begun to listen to a group, or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupChange {
    /// By which interface.
    pub interface: InterfaceId,
    /// The group.
    pub group: IpAddr,
    /// Whether it listens from now on.
    pub is_joined: bool,
}

/// What is to be handed out, in order. Of a group at most the last change waits: if it was joined and left meanwhile, there is nothing to be
/// told. So it is bounded by the groups that there may be, those that were told of and those of now.
#[derive(Debug, Default)]
pub(super) struct Handed(VecDeque<GroupChange>);

impl Handed {
    pub(super) fn push(&mut self, change: GroupChange) {
        let opposite = GroupChange { is_joined: !change.is_joined, ..change };
        match self.0.iter().position(|other| *other == opposite) {
            Some(at) => drop(self.0.remove(at)),
            None => self.0.push_back(change),
        }
    }
}

impl Stack {
    /// Tells nobody of groups from now on: the stack of another shard does so, which is to be told what [`Stack::poll_group`] hands out.
    pub fn hand_out_groups(&mut self) {
        self.groups.handed.get_or_insert_default();
    }

    /// What has changed of the groups that are listened to here, if that is [handed out](Stack::hand_out_groups).
    pub fn poll_group(&mut self) -> Option<GroupChange> {
        self.groups.handed.as_mut()?.0.pop_front()
    }

    /// Whether there is something for [`Stack::poll_group`].
    pub fn has_group_change(&self) -> bool {
        self.groups.handed.as_ref().is_some_and(|handed| !handed.0.is_empty())
    }

    /// Another shard listens to a group, or no more: it counts as one that listens here, but takes no room from the sockets
    /// here: the other one has bounded how many there are.
    ///
    /// # Errors
    /// [`ConfigError::NoInterface`].
    pub fn apply_group(&mut self, now: Instant, change: &GroupChange) -> Result<(), ConfigError> {
        self.network.interface(change.interface).ok_or(ConfigError::NoInterface)?;
        match change.is_joined {
            true => self.join(now, change.interface, change.group, Listener::Shard),
            false => {
                self.leave_as(now, change.interface, change.group, Listener::Shard);
                Ok(())
            }
        }
    }
}

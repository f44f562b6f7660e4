//! Packets that are ready to be sent and wait for the devices of their interfaces.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use sunstar_packet::Packet;

use crate::interface::InterfaceId;

/// A queue for each interface, so that none waits for another one's device.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queues: Vec<VecDeque<Packet>>,
    /// How many packets wait in all of them.
    count: usize,
    /// Where the search for the next one begins: interfaces are served in turn.
    next: usize,
}

impl Waiting {
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Whether fewer packets than `limit` wait for an interface.
    pub(super) fn has_room(&self, id: InterfaceId, limit: usize) -> bool {
        self.queues.get(id.index()).map_or(0, VecDeque::len) < limit
    }

    pub(super) fn push(&mut self, (id, packet): (InterfaceId, Packet)) {
        if self.queues.len() <= id.index() {
            self.queues.resize_with(id.index() + 1, VecDeque::new);
        }
        self.queues[id.index()].push_back(packet);
        self.count += 1;
    }

    /// The next packet of an interface that may send.
    #[inline(never)]
    pub(super) fn pop(&mut self, may_send: impl Fn(InterfaceId) -> bool) -> Option<(InterfaceId, Packet)> {
        let len = self.queues.len();
        let in_turn = (self.next..len).chain(0..self.next.min(len));
        let ids = in_turn.filter_map(|at| u16::try_from(at).ok()).map(InterfaceId);
        let id = ids.filter(|id| !self.queues[id.index()].is_empty()).find(|id| may_send(*id))?;
        let packet = self.queues[id.index()].pop_front()?;
        (self.count, self.next) = (self.count - 1, id.index() + 1);
        Some((id, packet))
    }

    /// Drops what waits for an interface.
    pub(super) fn forget(&mut self, id: InterfaceId) {
        if let Some(queue) = self.queues.get_mut(id.index()) {
            self.count -= core::mem::take(queue).len();
        }
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.queues.iter_mut().for_each(VecDeque::shrink_to_fit);
    }
}

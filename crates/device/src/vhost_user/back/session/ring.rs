//! What a front end has told of a ring.

use std::sync::Arc;

use sunstar_virtio::net::device::DeviceRing;
use sunstar_virtio::net::features;
use sunstar_virtio::{DeviceQueue, Memory, QueueOptions, packed, split};

use super::{MAX_RING, SessionError};
use crate::vhost_user::back::port::{Bells, Direction, Port};
use crate::vhost_user::back::table::Table;
use crate::vhost_user::message::RingAddresses;

/// A ring.
#[derive(Debug, Default)]
pub(super) struct Ring {
    size: u16,
    pub(super) addresses: Option<RingAddresses>,
    /// From where on it is worked on, next time.
    pub(super) base: u16,
    pub(super) bells: Bells,
    pub(super) is_enabled: bool,
    /// Whether the front end wants it to be worked on.
    pub(super) is_started: bool,
    /// Whether it is.
    pub(super) is_running: bool,
}

impl Ring {
    pub(super) fn set_size(&mut self, size: u32) -> Result<(), SessionError> {
        let fits = u16::try_from(size).ok().filter(|size| (1..=MAX_RING).contains(size));
        self.size = fits.ok_or(SessionError::Size { size })?;
        Ok(())
    }

    /// Takes the place of a ring: its index, and of a packed one the wrap counter in bit 15. What is above is where such a ring was given
    /// back to, which is the same if nothing is out.
    pub(super) fn set_base(&mut self, value: u32) {
        self.base = u16::try_from(value & 0xffff).unwrap_or(0);
    }

    /// Takes note that the front end wants the ring no longer; answers its place, as [`Ring::set_base`] takes it.
    pub(super) fn end(&mut self, is_packed: bool) -> u32 {
        self.is_started = false;
        self.bells.kick = None;
        let base = u32::from(self.base);
        if is_packed { base << 16 | base } else { base }
    }

    /// The ring in memory.
    pub(super) fn set_up(&self, table: &Table, features: u64) -> Result<DeviceRing, SessionError> {
        let unknown = |what| SessionError::NotKnown { what };
        if features & features::VERSION_1 == 0 {
            return Err(unknown("features"));
        }
        let size = Some(self.size).filter(|size| *size > 0).ok_or(unknown("size"))?;
        let addresses = self.addresses.ok_or(unknown("place"))?;
        let options = QueueOptions {
            size,
            has_event_index: features & features::EVENT_IDX != 0,
            is_in_order: features & features::IN_ORDER != 0,
            has_indirect: features & features::INDIRECT_DESC != 0,
        };
        let part = |what, address, bytes| -> Result<Memory, SessionError> {
            table.part_of_ring(address, bytes).ok_or(SessionError::NotMapped { what, address })
        };
        let parts = |bytes: [usize; 3]| -> Result<[Memory; 3], SessionError> {
            Ok([
                part("table of descriptors", addresses.descriptors, bytes[0])?,
                part("available ring", addresses.available, bytes[1])?,
                part("used ring", addresses.used, bytes[2])?,
            ])
        };
        let queue = if features & features::RING_PACKED != 0 {
            let [descriptors, driver_events, device_events] = parts(packed::area_bytes(size))?;
            let areas = packed::Areas { descriptors, driver_events, device_events };
            DeviceQueue::Packed(packed::Device::new(&areas, options, self.base)?)
        } else {
            let [descriptors, available, used] = parts(split::area_bytes(size))?;
            let areas = split::Areas { descriptors, available, used };
            DeviceQueue::Split(split::Device::new(&areas, options, self.base)?)
        };
        Ok(DeviceRing::new(queue, table.map(), features))
    }
}

/// Where a ring is worked on. The driver receives by the even ones.
pub(super) fn port_of(ports: &[Arc<Port>], index: usize) -> (&Port, Direction) {
    let direction = if index.is_multiple_of(2) { Direction::Receive } else { Direction::Transmit };
    (&ports[index / 2], direction)
}

//! A front end's session: what was negotiated, what is known of its rings, and which of them are worked on.
//!
//! A ring starts as soon as everything is known that it needs and it has got a kick (as other back ends have it; before that, nothing
//! would tell that something is available). It stops when the front end asks for its place, when its memory goes, or with the session.

mod error;
mod ring;
#[cfg(test)]
mod tests;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{FileType, OFlags};
use sunstar_virtio::net::features;

use super::port::{Bell, Port};
use super::table::{MAX_SLOTS, Table};
use crate::vhost_user::channel::Received;
use crate::vhost_user::message::{Reply, Request, RingFile, RingState, protocol_features};

pub(super) use error::SessionError;
use ring::Ring;

/// The largest ring: more than drivers have, and few enough that a burst of a hostile one takes no longer than others.
pub(super) const MAX_RING: u16 = 4_096;

/// Protocol features that are known here, besides several pairs of queues.
const PROTOCOL: u64 = protocol_features::REPLY_ACK
    | protocol_features::MTU
    | protocol_features::RESET_DEVICE
    | protocol_features::CONFIGURE_MEM_SLOTS;

/// What a back end offers to every front end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    /// Features of virtio.
    pub(super) features: u64,
    /// The longest IP packet, in bytes.
    pub(super) mtu_bytes: usize,
}

/// A session, from the connection to its end. Dropping it stops all rings.
#[derive(Debug)]
pub(super) struct Session {
    offer: Offer,
    ports: Arc<[Arc<Port>]>,
    features: u64,
    protocol: u64,
    table: Table,
    rings: Vec<Ring>,
    /// Of those that the message has stopped.
    stopped: Vec<SessionError>,
}

/// What came of a message.
#[derive(Debug)]
pub(super) struct Answered {
    /// The bytes of the answer, if there is to be one.
    pub(super) answer: Option<Vec<u8>>,
    /// Why the request was refused, which the answer tells.
    pub(super) refused: Option<SessionError>,
    /// Why rings have stopped by it, though it was done.
    pub(super) stopped: Vec<SessionError>,
}

impl Session {
    /// A session whose rings are worked on at `ports`, one for each pair.
    pub(super) fn new(offer: Offer, ports: Arc<[Arc<Port>]>) -> Self {
        let rings = (0..2 * ports.len()).map(|_| Ring::default()).collect();
        Self { offer, ports, features: 0, protocol: 0, table: Table::default(), rings, stopped: Vec::new() }
    }

    /// Does what a message asks for.
    ///
    /// # Errors
    /// When the session has to end, since the front end can't be told that it was refused.
    pub(super) fn handle(&mut self, message: Received) -> Result<Answered, SessionError> {
        let Received { header, payload, files } = message;
        let request = Request::decode(header, &payload, files.len());
        let has_reply = request.as_ref().is_ok_and(Request::has_reply);
        let result = request.map_err(SessionError::from).and_then(|request| self.apply(request, files));
        // Also by this message: front ends that want everything answered wait for the answer to the one that settles that, too.
        let wants_answer = header.needs_reply && self.protocol & protocol_features::REPLY_ACK != 0;
        let (reply, refused) = match result {
            Ok(reply) => (reply.or(wants_answer.then_some(Reply::Value(0))), None),
            Err(error) if wants_answer && !has_reply => (Some(Reply::Value(1)), Some(error)),
            Err(error) => return Err(error),
        };
        let answer = reply.map(|reply| reply.encode(header.number));
        Ok(Answered { answer, refused, stopped: std::mem::take(&mut self.stopped) })
    }

    fn apply(&mut self, request: Request, mut files: Vec<OwnedFd>) -> Result<Option<Reply>, SessionError> {
        match request {
            Request::GetFeatures => return Ok(Some(Reply::Value(self.offer.features))),
            Request::SetFeatures(features) => self.set_features(features)?,
            Request::GetProtocolFeatures => return Ok(Some(Reply::Value(self.protocol_features()))),
            Request::SetProtocolFeatures(wanted) => {
                let unknown = wanted & !self.protocol_features();
                if unknown != 0 {
                    return Err(SessionError::ProtocolFeatures { unknown });
                }
                self.protocol = wanted;
            }
            Request::SetOwner => {}
            Request::ResetOwner => (0..self.rings.len()).for_each(|index| self.enable(index, false)),
            Request::GetQueueNum => return Ok(Some(Reply::Value(self.ports.len() as u64))),
            Request::SetMemTable(regions) => self.set_table(Table::new(&regions, files)?),
            Request::GetMaxMemSlots => return Ok(Some(Reply::Value(MAX_SLOTS as u64))),
            Request::AddMemReg(region) => match files.pop() {
                Some(file) => self.set_table(self.table.with(&region, &file)?),
                None => return Err(SessionError::NoFile),
            },
            Request::RemMemReg(region) => self.set_table(self.table.without(&region)?),
            Request::SetVringNum(RingState { index, value }) => self.stopped(index)?.set_size(value)?,
            Request::SetVringBase(RingState { index, value }) => self.stopped(index)?.set_base(value),
            Request::SetVringAddr(addresses) => {
                let index = self.index(addresses.index)?;
                self.pause(index);
                self.rings[index].addresses = Some(addresses);
                self.resume(index)?;
            }
            Request::GetVringBase { index } => {
                let place = self.index(index)?;
                self.pause(place);
                let value = self.rings[place].end(self.features & features::RING_PACKED != 0);
                return Ok(Some(Reply::Ring(RingState { index, value })));
            }
            Request::SetVringKick(file) => self.set_kick(file, files.pop())?,
            Request::SetVringCall(file) => self.set_bell(file, files.pop(), |ring| &mut ring.bells.call)?,
            Request::SetVringErr(file) => self.set_bell(file, files.pop(), |ring| &mut ring.bells.err)?,
            Request::SetVringEnable(RingState { index, value }) => {
                let index = self.index(index)?;
                self.enable(index, value != 0);
            }
            Request::NetSetMtu(mtu) => {
                if mtu != self.offer.mtu_bytes as u64 {
                    return Err(SessionError::Mtu { theirs: mtu, ours: self.offer.mtu_bytes });
                }
            }
            Request::ResetDevice => self.reset(),
        }
        Ok(None)
    }

    /// What is offered. Whether the number of queues is that of pairs or of rings front ends see differently; with one pair none needs it.
    fn protocol_features(&self) -> u64 {
        PROTOCOL | if self.ports.len() > 1 { protocol_features::MQ } else { 0 }
    }

    fn set_features(&mut self, wanted: u64) -> Result<(), SessionError> {
        let unknown = wanted & !self.offer.features;
        if unknown != 0 {
            return Err(SessionError::Features { unknown });
        }
        if wanted & features::VERSION_1 == 0 {
            return Err(SessionError::Legacy);
        }
        if wanted == self.features {
            return Ok(());
        }
        if self.rings.iter().any(|ring| ring.is_running) {
            return Err(SessionError::Running { what: "features" });
        }
        self.features = wanted;
        if wanted & features::VHOST_USER_PROTOCOL == 0 {
            // Without the feature there is no request to enable them.
            self.rings.iter_mut().for_each(|ring| ring.is_enabled = true);
        }
        Ok(())
    }

    /// Has other memory from now on. Rings go on there, if they still lie in it.
    fn set_table(&mut self, table: Table) {
        (0..self.rings.len()).for_each(|index| self.pause(index));
        self.table = table;
        for index in 0..self.rings.len() {
            // Regions come and go one by one: perhaps the next one has it.
            let stopped = self.resume(index).err();
            self.stopped.extend(stopped);
        }
    }

    fn set_kick(&mut self, file: RingFile, kick: Option<OwnedFd>) -> Result<(), SessionError> {
        let index = self.index(file.index.into())?;
        let kick = kick.map(bell).transpose()?;
        self.pause(index);
        let ring = &mut self.rings[index];
        ring.bells.kick = kick;
        ring.is_started = true;
        self.resume(index)
    }

    fn set_bell(
        &mut self,
        file: RingFile,
        fd: Option<OwnedFd>,
        place: fn(&mut Ring) -> &mut Option<Bell>,
    ) -> Result<(), SessionError> {
        let index = self.index(file.index.into())?;
        let ring = &mut self.rings[index];
        *place(ring) = fd.map(bell).transpose()?;
        let (call, err) = (ring.bells.call.clone(), ring.bells.err.clone());
        let (port, direction) = ring::port_of(&self.ports, index);
        port.set_bells(direction, call, err);
        Ok(())
    }

    fn enable(&mut self, index: usize, is_enabled: bool) {
        self.rings[index].is_enabled = is_enabled;
        let (port, direction) = ring::port_of(&self.ports, index);
        port.enable(direction, is_enabled);
    }

    /// Everything as it was at the beginning, but for the memory and what the protocol can do.
    fn reset(&mut self) {
        (0..self.rings.len()).for_each(|index| self.pause(index));
        self.rings.iter_mut().for_each(|ring| *ring = Ring::default());
        self.features = 0;
    }

    /// The ring that is meant.
    fn index(&self, index: u32) -> Result<usize, SessionError> {
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        if place < self.rings.len() { Ok(place) } else { Err(SessionError::NoSuchRing { index }) }
    }

    /// A ring that is not worked on.
    fn stopped(&mut self, index: u32) -> Result<&mut Ring, SessionError> {
        let place = self.index(index)?;
        let ring = &mut self.rings[place];
        if ring.is_running { Err(SessionError::Running { what: "size or place of a ring" }) } else { Ok(ring) }
    }

    /// Stops a ring and remembers where.
    fn pause(&mut self, index: usize) {
        let (port, direction) = ring::port_of(&self.ports, index);
        let ring = &mut self.rings[index];
        if std::mem::take(&mut ring.is_running) {
            let base = port.stop(direction).filter(|_| !planted::is("vhost_user_place_forgotten"));
            ring.base = base.unwrap_or(ring.base);
        }
    }

    /// Starts a ring, or has it go on, if it is known.
    fn resume(&mut self, index: usize) -> Result<(), SessionError> {
        let ring = &mut self.rings[index];
        if !ring.is_started {
            return Ok(());
        }
        let device_ring = ring.set_up(&self.table, self.features)?;
        let (port, direction) = ring::port_of(&self.ports, index);
        port.start(direction, device_ring, ring.bells.clone(), ring.is_enabled).map_err(SessionError::Bell)?;
        ring.is_running = true;
        Ok(())
    }

    /// Reads the last byte of each region, which ends the process if it is not there.
    #[cfg(any(test, fuzzing))]
    pub(super) fn touch_memory(&self) {
        for range in self.table.map().ranges() {
            range.memory.read(range.memory.len() - 1, &mut [0]);
        }
    }

    /// How many of the pairs of queues the driver leaves alone: who has agreed to the features without that for several has one.
    pub(super) fn unused_queues(&self) -> usize {
        let has_one = self.features != 0 && self.features & features::MQ == 0;
        if has_one { self.ports.len() - 1 } else { 0 }
    }

    /// How many regions of its memory the front end could cut off.
    pub(super) fn unsealed_regions(&self) -> usize {
        self.table.unsealed
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if planted::is("vhost_user_ring_kept") {
            return;
        }
        (0..self.rings.len()).for_each(|index| self.pause(index));
    }
}

/// A descriptor by which the two sides tell each other, if it is what it should be. A write to anything else could wait for ever.
fn bell(fd: OwnedFd) -> Result<Bell, SessionError> {
    let stat = rustix::fs::fstat(&fd).map_err(|error| SessionError::Bell(error.into()))?;
    // An eventfd is no file of any type, nor is anything else to which a write could wait.
    if FileType::from_raw_mode(stat.st_mode) != FileType::Unknown && !planted::is("vhost_user_any_bell") {
        return Err(SessionError::NoBell);
    }
    let flags = rustix::fs::fcntl_getfl(&fd).map_err(|error| SessionError::Bell(error.into()))?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK).map_err(|error| SessionError::Bell(error.into()))?;
    Ok(Arc::new(fd))
}

//! The simulated wires: local networks of which each is a switch, cables to the devices of hosts, trunks between switches.
//!
//! All of it works in events. A direction of a link has at most one event in the scheduler's heap that counts, that of the next frame
//! to arrive.

mod direction;
mod frame;
mod nic;
mod options;
mod station;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use sunstar_executor::Instant;
use sunstar_packet::Pool;
use sunstar_wire::MacAddr;

pub use direction::LinkCounters;
pub use options::{Burst, LinkOptions, PortOptions};
pub use station::StationId;

use crate::options::LINK_STREAMS;
use crate::random::Random;
use crate::trace::Record;
use crate::world::{Event, ShardIo, World};
use direction::Direction;
use frame::{Frame, Mac};
use nic::{Nic, NicQueue};
use station::Station;

/// A local network of a world: a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LanId(usize);

/// A link between two local networks, or between one and a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(usize);

impl LinkId {
    /// Towards the host; of a trunk, towards the second local network.
    const fn down(self) -> usize {
        self.0 * 2 + 1
    }

    /// The other way.
    const fn up(self) -> usize {
        self.0 * 2
    }
}

/// A device of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NicId(usize);

/// Where a direction of a link ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Lan(usize),
    Nic(usize),
    Station(usize),
}

/// A switch.
#[derive(Debug, Default)]
struct Lan {
    /// The directions that lead away from it.
    exits: Vec<usize>,
    /// Behind which of those a station was seen.
    stations: BTreeMap<Mac, usize>,
}

/// All wires of a world.
pub(crate) struct Ether {
    world: Rc<World>,
    seed: u64,
    directions: RefCell<Vec<Direction>>,
    ends: RefCell<Vec<End>>,
    lans: RefCell<Vec<Lan>>,
    nics: RefCell<Vec<Rc<Nic>>>,
    stations: RefCell<Vec<Station>>,
    /// Hosts of which the first does not reach the second.
    blocked: RefCell<BTreeSet<(usize, usize)>>,
    /// Kept for its memory.
    arrived: RefCell<Vec<Frame>>,
}

impl Ether {
    pub(crate) fn new(world: Rc<World>, seed: u64) -> Self {
        Self {
            world,
            seed,
            directions: RefCell::default(),
            ends: RefCell::default(),
            lans: RefCell::default(),
            nics: RefCell::default(),
            stations: RefCell::default(),
            blocked: RefCell::default(),
            arrived: RefCell::default(),
        }
    }

    pub(crate) fn add_lan(&self) -> LanId {
        let mut lans = self.lans.borrow_mut();
        lans.push(Lan::default());
        LanId(lans.len() - 1)
    }

    /// Adds a link; `up` leads to the first end, `down` to the second one.
    fn add_link(&self, options: [LinkOptions; 2], ends: [End; 2]) -> LinkId {
        let mut directions = self.directions.borrow_mut();
        let id = LinkId(directions.len() / 2);
        for options in options {
            let random = Random::stream(self.seed, LINK_STREAMS + directions.len() as u64);
            directions.push(Direction::new(options, random));
        }
        self.ends.borrow_mut().extend(ends);
        id
    }

    pub(crate) fn add_trunk(&self, lans: [LanId; 2], options: [LinkOptions; 2]) -> LinkId {
        let [first, second] = lans;
        let id = self.add_link(options, [End::Lan(first.0), End::Lan(second.0)]);
        let mut lans = self.lans.borrow_mut();
        lans[first.0].exits.push(id.down());
        lans[second.0].exits.push(id.up());
        id
    }

    /// Adds a device of a host.
    pub(crate) fn add_nic(&self, host: usize, mac: MacAddr, options: PortOptions) -> (NicId, LinkId) {
        let mut nics = self.nics.borrow_mut();
        let (id, lan) = (NicId(nics.len()), options.lan.0);
        let link = self.add_link([options.up.clone(), options.down.clone()], [End::Lan(lan), End::Nic(id.0)]);
        self.lans.borrow_mut()[lan].exits.push(link.down());
        nics.push(Rc::new(Nic::new(host, mac, link.up(), options)));
        (id, link)
    }

    /// A shard's queue of a device.
    pub(crate) fn queue(self: &Rc<Self>, nic: NicId, io: Rc<ShardIo>, index: usize, pool: Rc<Pool>) -> NicQueue {
        let nic = Rc::clone(&self.nics.borrow()[nic.0]);
        NicQueue::new(Rc::clone(self), nic, io, index, pool)
    }

    pub(crate) fn turn_off(&self, nic: NicId) {
        self.nics.borrow()[nic.0].turn_off();
    }

    /// Changes how both directions of a link behave from now on. What is under way arrives as it would have.
    pub(crate) fn change(&self, link: LinkId, mut change: impl FnMut(&mut LinkOptions)) {
        let mut directions = self.directions.borrow_mut();
        for direction in [link.up(), link.down()] {
            change(&mut directions[direction].options);
        }
    }

    /// Makes all links good ones, and lets all hosts reach each other.
    pub(crate) fn heal(&self) {
        for direction in self.directions.borrow_mut().iter_mut() {
            direction.options = direction.options.healed();
        }
        self.blocked.borrow_mut().clear();
    }

    /// Whether a host is to reach another one.
    pub(crate) fn block(&self, from: usize, to: usize, is_blocked: bool) {
        let mut blocked = self.blocked.borrow_mut();
        if is_blocked {
            blocked.insert((from, to));
        } else {
            blocked.remove(&(from, to));
        }
    }

    /// Counters of both directions of a link: from the host or the first local network, and back.
    pub(crate) fn counters_of(&self, link: LinkId) -> [LinkCounters; 2] {
        let directions = self.directions.borrow();
        [link.up(), link.down()].map(|direction| directions[direction].counters)
    }

    /// The sum over all links.
    pub(crate) fn counters(&self) -> LinkCounters {
        self.directions.borrow().iter().fold(LinkCounters::default(), |sum, direction| sum.plus(&direction.counters))
    }

    /// Until when a direction takes no more.
    pub(super) fn full_until(&self, direction: usize, now: Instant) -> Option<Instant> {
        self.directions.borrow_mut()[direction].full_until(now)
    }

    /// A host, which has asked whether there is room, sends a frame.
    fn send(&self, direction: usize, frame: Frame) {
        self.admit(direction, frame, true);
    }

    fn admit(&self, number: usize, frame: Frame, has_asked: bool) {
        let now = self.world.now();
        let (bytes, head) = (frame.len(), frame.head());
        let mut directions = self.directions.borrow_mut();
        let direction = &mut directions[number];
        let was_taken = direction.admit(now, frame, has_asked);
        self.world.note(&Record::Frame { direction: number, bytes, head, was_taken });
        self.set_alarm(number, direction);
    }

    /// Sees to it that an event comes for the next frame to arrive.
    fn set_alarm(&self, number: usize, direction: &mut Direction) {
        if let Some(at) = direction.next_arrival()
            && direction.alarm.is_none_or(|alarm| at < alarm)
        {
            direction.alarm = Some(at);
            self.world.schedule(at, Event::Frames(number));
        }
    }

    /// Frames of a direction may have arrived.
    pub(crate) fn arrive(&self, number: usize) {
        let now = self.world.now();
        let mut arrived = self.arrived.take();
        {
            let direction = &mut self.directions.borrow_mut()[number];
            direction.alarm = direction.alarm.filter(|alarm| *alarm > now);
            arrived.extend(std::iter::from_fn(|| direction.arrived(now)));
            self.set_alarm(number, direction);
        }
        let end = self.ends.borrow()[number];
        for frame in arrived.drain(..) {
            match end {
                End::Lan(lan) => self.forward(lan, number, frame),
                End::Nic(nic) => self.deliver(nic, frame),
                End::Station(station) => self.stations.borrow_mut()[station].receive(&frame),
            }
        }
        self.arrived.replace(arrived);
    }

    /// A switch sends a frame on: to where the station was seen, or everywhere.
    fn forward(&self, lan: usize, from: usize, frame: Frame) {
        let mut lans = self.lans.borrow_mut();
        let Lan { exits, stations } = &mut lans[lan];
        // The two directions of a link are next to each other.
        let back = from ^ 1;
        stations.insert(frame.src(), back);
        match stations.get(&frame.dst()) {
            Some(&exit) if exit == back => {}
            Some(&exit) => self.admit(exit, frame, false),
            None => {
                for &exit in exits.iter().filter(|exit| **exit != back) {
                    self.admit(exit, frame.clone(), false);
                }
            }
        }
    }

    fn deliver(&self, nic: usize, frame: Frame) {
        let nics = self.nics.borrow();
        let nic = &nics[nic];
        let dst = frame.dst();
        // A group's frames are for all.
        if dst != nic.mac() && dst[0] & 1 == 0 {
            return;
        }
        if !self.blocked.borrow().contains(&(frame.from_host, nic.host)) {
            nic.receive(frame);
        }
    }
}

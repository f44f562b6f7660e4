//! A station: frames of a local network that no host makes.

use std::collections::VecDeque;
use std::rc::Rc;

use super::frame::{Frame, Mac};
use super::{End, Ether, LanId, LinkOptions};

/// Frames that wait to be fetched at most; further ones are dropped.
const MAX_RECEIVED: usize = 1_024;

/// Somebody on a local network who sends what a test has made, and keeps what is sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StationId(usize);

#[derive(Debug)]
pub(super) struct Station {
    /// Where its frames go.
    up: usize,
    mac: Mac,
    received: VecDeque<Rc<[u8]>>,
}

impl Station {
    pub(super) fn receive(&mut self, frame: &Frame) {
        let is_meant = frame.dst() == self.mac || frame.dst()[0] & 1 != 0;
        if is_meant && self.received.len() < MAX_RECEIVED {
            self.received.push_back(frame.completed());
        }
    }
}

impl Ether {
    pub(crate) fn add_station(&self, lan: LanId, cable: &LinkOptions) -> StationId {
        let mut stations = self.stations.borrow_mut();
        let id = StationId(stations.len());
        let link = self.add_link([cable.clone(), cable.clone()], [End::Lan(lan.0), End::Station(id.0)]);
        self.lans.borrow_mut()[lan.0].exits.push(link.down());
        let [high, low] = u16::try_from(id.0).unwrap_or(u16::MAX).to_be_bytes();
        stations.push(Station { up: link.up(), mac: [6, 0, 0, 0, high, low], received: VecDeque::new() });
        id
    }

    pub(crate) fn station_mac(&self, id: StationId) -> Mac {
        self.stations.borrow()[id.0].mac
    }

    pub(crate) fn send_from_station(&self, id: StationId, frame: &[u8]) {
        let up = self.stations.borrow()[id.0].up;
        self.admit(up, Frame::made(frame), false);
    }

    pub(crate) fn received_by_station(&self, id: StationId) -> Option<Rc<[u8]>> {
        self.stations.borrow_mut()[id.0].received.pop_front()
    }
}

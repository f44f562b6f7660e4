//! Somebody on the wire whose frames a test makes: strangers, attackers, hosts of other kinds.

use sunstar_wire::MacAddr;

use crate::ether::{LanId, LinkOptions, StationId};
use crate::sim::Sim;

impl Sim {
    /// Joins a station to a local network, by a cable that behaves so both ways.
    pub fn station(&mut self, lan: LanId, cable: &LinkOptions) -> StationId {
        self.ether.add_station(lan, cable)
    }

    /// The hardware address of a station.
    pub fn station_address(&self, station: StationId) -> MacAddr {
        MacAddr(self.ether.station_mac(station))
    }

    /// Sends a frame from a station, whatever it is, with its Ethernet header.
    pub fn send_frame(&mut self, station: StationId, frame: &[u8]) {
        self.ether.send_from_station(station, frame);
    }

    /// The next frame that has come for a station, or for all. A thousand wait; what comes then is lost.
    pub fn received_frame(&mut self, station: StationId) -> Option<Vec<u8>> {
        self.ether.received_by_station(station).map(|frame| frame.to_vec())
    }
}

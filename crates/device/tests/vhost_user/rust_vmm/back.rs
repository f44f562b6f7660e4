//! Back ends with a front end of rust-vmm's.

use std::path::PathBuf;
use std::rc::Rc;

use sunstar_device::{BackOptions, Counters, Device, Queue, VhostUserBack};
use sunstar_packet::{Buffer, Packet, Pool, PoolOptions};
use sunstar_virtio::net::features;
use tempfile::TempDir;
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserProtocolFeatures};
use vhost::vhost_user::{self, VhostUserFrontend};
use vhost::{Error, VhostBackend};
use vm_memory::GuestMemoryMmap;

use super::driver::{Answers, BYTES, DATA, Driver, RINGS, SIZE, memory, regions};
use crate::support::{bytes, frame, receive, send};

const ALWAYS: u64 = features::VERSION_1 | features::VHOST_USER_PROTOCOL;

/// The device's side.
struct Switch {
    _folder: TempDir,
    path: PathBuf,
    queues: Vec<Box<dyn Queue>>,
}

impl Switch {
    fn open(queues: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let mut back =
            VhostUserBack::open(&BackOptions { queues, is_server: true, ..BackOptions::new(&path) }).unwrap();
        let frames = PoolOptions { frame_bytes: 2_048, headroom_bytes: 64, limit_frames: 2_000 };
        let pool = Rc::new(Pool::new(frames).unwrap());
        let queues = (0..queues).map(|index| back.take_queue(index).unwrap().attach(Rc::clone(&pool)).unwrap());
        let queues = queues.collect();
        Self { _folder: folder, path, queues }
    }

    fn driver(&self, features: u64, answers: Answers) -> Driver {
        Driver::open(&self.path, 2 * self.queues.len() as u64, features, answers)
    }

    /// Frames of all sizes go there and back.
    fn exchange(&mut self, driver: &mut Driver, frames: usize) {
        let [mut receives, mut transmits] = driver.pair();
        let queue = &mut *self.queues[0];
        // Of the buffers that are there one after the other.
        receives.is_told();
        transmits.is_told();
        for (number, len) in (0..frames).zip([60, 1_514, 61, 300, 1_000].into_iter().cycle()) {
            let frame = frame(number, len);
            transmits.send(&frame);
            let arrived = receive(queue);
            assert!(bytes(&arrived) == frame, "frame {number}");
            assert!(transmits.is_told() && transmits.used().len() == 1);
            send(queue, arrived);
            assert!(receives.is_told() && receives.receive() == frame, "frame {number}");
        }
    }

    fn counters(&self) -> Counters {
        self.queues[0].counters()
    }
}

/// What the back end was told to do, and refuses.
fn is_refused<T>(result: vhost::Result<T>) -> bool {
    matches!(result, Err(Error::VhostUserProtocol(vhost_user::Error::BackendInternalError)))
}

#[test]
fn a_driver_is_served_whatever_it_agrees_to() {
    let rings = features::MRG_RXBUF | features::EVENT_IDX | features::INDIRECT_DESC;
    for answers in [Answers::Few, Answers::All] {
        for wanted in [ALWAYS, ALWAYS | features::MRG_RXBUF, ALWAYS | rings, features::VERSION_1] {
            let mut switch = Switch::open(1);
            let mut driver = switch.driver(wanted, answers);
            switch.exchange(&mut driver, 200);
            let of = switch.counters();
            assert_eq!((of.rx_packets, of.tx_packets), (200, 200));
            assert_eq!((of.peer_errors, of.rx_malformed, of.tx_refused), (0, 0, 0));
        }
    }
}

#[test]
fn a_driver_that_comes_again_is_served_again() {
    let mut switch = Switch::open(1);
    for times in 0..3 {
        let mut driver = switch.driver(ALWAYS | features::MRG_RXBUF, Answers::All);
        switch.exchange(&mut driver, 20);
        assert_eq!(switch.counters().reconnects, times);
    }
}

#[test]
fn one_pair_of_queues_is_no_case_for_the_number_of_queues() {
    // Front ends of these crates count rings where others count pairs of them, and would not find the second one.
    let switch = Switch::open(1);
    let mut driver = switch.driver(ALWAYS, Answers::All);
    assert!(!driver.front.get_protocol_features().unwrap().contains(VhostUserProtocolFeatures::MQ));
    assert!(driver.front.get_queue_num().is_err());
    driver.pair();
    let switch = Switch::open(3);
    let mut driver = switch.driver(ALWAYS | features::MQ, Answers::All);
    assert_eq!(driver.front.get_queue_num().unwrap(), 3);
}

#[test]
fn each_pair_of_queues_has_its_rings() {
    let mut switch = Switch::open(3);
    let mut driver = switch.driver(ALWAYS | features::MQ, Answers::All);
    for (pair, queue) in switch.queues.iter_mut().enumerate() {
        let [mut receives, mut transmits] = [driver.ring(2 * pair), driver.ring(2 * pair + 1)];
        receives.provide();
        transmits.send(&frame(pair, 100));
        assert!(bytes(&receive(&mut **queue)) == frame(pair, 100));
        send(&mut **queue, Packet::from(Buffer::from(frame(pair, 200))));
        assert!(receives.receive() == frame(pair, 200));
    }
}

#[test]
fn what_is_refused_is_told_and_the_session_goes_on() {
    let mut switch = Switch::open(1);
    let mut driver = switch.driver(ALWAYS, Answers::All);
    let front = &mut driver.front;
    let agreed = front.get_protocol_features().unwrap();
    // Of a feature that this device has not.
    assert!(is_refused(front.set_features(ALWAYS | features::MQ)));
    assert!(is_refused(front.set_features(0)), "virtio 1.0 is needed");
    assert!(is_refused(front.set_protocol_features(VhostUserProtocolFeatures::all())));
    assert!(is_refused(front.set_vring_num(0, 0)));
    assert!(is_refused(front.set_vring_num(0, 8_192)));
    let elsewhere = GuestMemoryMmap::from_ranges_with_files([memory(RINGS), memory(RINGS + BYTES)]).unwrap();
    let mut overlap = regions(&elsewhere);
    overlap[1].guest_phys_addr -= 1;
    assert!(is_refused(front.set_mem_table(&overlap)), "a place twice");
    let mut long = regions(&elsewhere);
    long[1].memory_size += 4_096;
    assert!(is_refused(front.set_mem_table(&long)), "its file is not as long");
    assert_eq!(switch.counters().peer_errors, 7);
    // The front end takes for agreed what it has asked for.
    front.set_protocol_features(agreed).unwrap();
    front.set_features(ALWAYS).unwrap();
    switch.exchange(&mut driver, 20);
    assert_eq!(switch.counters().reconnects, 0);
}

#[test]
fn a_ring_that_does_not_exist_or_lies_elsewhere_is_refused() {
    let mut switch = Switch::open(1);
    // It believes in more of them.
    let mut driver = Driver::open(&switch.path, 8, ALWAYS, Answers::All);
    assert!(is_refused(driver.front.set_vring_num(2, SIZE)));
    assert!(is_refused(driver.front.set_vring_enable(7, true)));
    let mut elsewhere = driver.addresses(0);
    elsewhere.used_ring_addr = 0x1000;
    driver.front.set_vring_num(0, SIZE).unwrap();
    driver.front.set_vring_addr(0, &elsewhere).unwrap();
    let kick = vmm_sys_util::eventfd::EventFd::new(0).unwrap();
    assert!(is_refused(driver.front.set_vring_kick(0, &kick)));
    driver.front.get_vring_base(0).unwrap();
    assert_eq!(switch.counters().peer_errors, 3);
    switch.exchange(&mut driver, 20);
}

#[test]
fn a_ring_tells_where_it_has_stopped_and_the_device_can_be_reset() {
    let mut switch = Switch::open(1);
    let mut driver = switch.driver(ALWAYS, Answers::All);
    switch.exchange(&mut driver, 20);
    // Of the buffers to be filled there are more.
    assert_eq!(driver.stop(), [20, 20]);
    driver.front.reset_device().unwrap();
    driver.front.set_features(ALWAYS | features::MRG_RXBUF).unwrap();
    driver.features = ALWAYS | features::MRG_RXBUF;
    switch.exchange(&mut driver, 20);
}

#[test]
fn memory_comes_and_goes_region_by_region() {
    let mut switch = Switch::open(1);
    let mut driver = switch.driver(ALWAYS, Answers::All);
    assert!(driver.front.get_max_mem_slots().unwrap() >= 8);
    let more = GuestMemoryMmap::from_ranges_with_files([memory(DATA + 8 * BYTES)]).unwrap();
    let region = regions(&more).remove(0);
    driver.front.add_mem_region(&region).unwrap();
    assert!(is_refused(driver.front.add_mem_region(&region)), "it is there");
    switch.exchange(&mut driver, 20);
    driver.front.remove_mem_region(&region).unwrap();
    assert!(is_refused(driver.front.remove_mem_region(&region)), "it has gone");
    driver.stop();
    switch.exchange(&mut driver, 20);
}

#[test]
fn what_the_device_does_not_have_is_not_offered() {
    let switch = Switch::open(1);
    let mut driver = switch.driver(ALWAYS, Answers::Few);
    let read = driver.front.get_config(0, 8, VhostUserConfigFlags::empty(), &[0; 8]);
    assert!(matches!(read, Err(Error::VhostUserProtocol(vhost_user::Error::InactiveOperation(_)))));
    // And who breaks the protocol without wanting to be told has no session any more.
    driver.front.set_features(ALWAYS | features::MQ).unwrap();
    assert!(driver.front.get_features().is_err());
    assert!(switch.driver(ALWAYS, Answers::Few).front.get_features().is_ok(), "the next one has");
}

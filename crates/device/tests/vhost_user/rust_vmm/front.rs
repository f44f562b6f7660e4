//! Front ends with a back end of rust-vmm's.

use std::collections::VecDeque;
use std::path::PathBuf;

use sunstar_device::{Device, FrontOptions, Offloads, Queue, Ring, SharedMemory, VhostUserFront};
use sunstar_packet::{Buffer, Packet};
use sunstar_virtio::net::features;
use tempfile::TempDir;
use vhost_user_backend::Error;

use super::net::{ALL, Net, Running};
use crate::support::{Host, NOW, bytes, frame, packet, receive, send, until, wait};

fn scene() -> (TempDir, FrontOptions) {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("socket");
    (folder, FrontOptions::new(path))
}

impl Host {
    /// Sends a packet by one queue and gets it by another one.
    fn pass(&mut self, from: usize, to: usize, packet: Packet) -> Packet {
        let (expected, offload) = (bytes(&packet), packet.offload);
        send(&mut *self.queues[from], packet);
        let arrived = receive(&mut *self.queues[to]);
        assert!(bytes(&arrived) == expected && arrived.offload == offload, "{} bytes", expected.len());
        arrived
    }

    /// Packets of all sizes go there and back: from the heap, and from where they arrived.
    fn exchange(&mut self, packets: usize, sizes: &[usize]) {
        for (number, len) in (0..packets).zip(sizes.iter().copied().cycle()) {
            let arrived = self.pass(0, 0, packet(number, len));
            self.pass(0, 0, arrived);
        }
        let of = self.queues[0].counters();
        let wrong = of.rx_malformed + of.rx_truncated + of.tx_refused;
        assert_eq!(wrong, 0, "{of:?}");
        self.queues[0].free_unused_memory();
        assert!(self.pool.counters().in_use_frames <= 257, "nothing is kept but what lies in the ring");
    }

    /// Waits until there is a back end again.
    fn meet_again(&mut self, times: u64) {
        until("the front end meets its back end again", || {
            if self.queues[0].counters().reconnects >= times {
                return Some(());
            }
            wait(&mut *self.queues[0]);
            self.queues[0].rx_burst(NOW, &mut VecDeque::new(), 32).unwrap();
            None
        });
    }
}

#[test]
fn packets_go_there_and_back_by_rings_of_each_kind() {
    for kind in 0..8 {
        let (_folder, mut options) = scene();
        let has = |bit: u64, feature: u64| if kind & bit == 0 { feature } else { 0 };
        let without = has(1, features::EVENT_IDX) | has(2, features::INDIRECT_DESC) | has(4, features::MRG_RXBUF);
        // There are none, so the others are taken.
        options.ring = Ring::Packed;
        options.offloads = Offloads::NONE;
        let back = Running::listen(&options.path, Net::new(ALL & !without, 1));
        let mut host = Host::open(&options);
        host.exchange(300, &[6, 1_460, 100, 1, 700]);
        let always = features::VERSION_1 | features::VHOST_USER_PROTOCOL;
        let kinds = features::EVENT_IDX | features::INDIRECT_DESC | features::MRG_RXBUF;
        assert_eq!(back.end(), always | kinds & !without, "all that both know is used");
        assert_eq!(host.queues[0].counters().peer_errors, 0);
    }
}

#[test]
fn large_packets_come_in_many_frames_and_keep_what_was_said_of_them() {
    for without in [0, features::EVENT_IDX, features::INDIRECT_DESC] {
        let (_folder, options) = scene();
        let back = Running::listen(&options.path, Net::new(ALL & !without, 1));
        let mut host = Host::open(&options);
        let can = host.front.capabilities();
        assert!(can.tx.checksum && can.tx.tso4 && can.tx.tso6 && can.rx.tso4 && !can.tx.uso);
        host.exchange(300, &[6, 1_460, 9_000, 100, 60_000, 30_000]);
        back.end();
    }
}

#[test]
fn packets_that_are_under_way_at_once_stay_in_order() {
    const PACKETS: usize = 5_000;
    for without in [0, features::EVENT_IDX | features::INDIRECT_DESC] {
        let (_folder, options) = scene();
        let back = Running::listen(&options.path, Net::new(ALL & !without, 1));
        let mut host = Host::open(&options);
        let queue = &mut *host.queues[0];
        let (mut waiting, mut arrived) = (VecDeque::new(), VecDeque::new());
        let (mut sent, mut received) = (0, 0);
        while received < PACKETS {
            // More than both rings hold.
            while sent < PACKETS && sent - received < 700 {
                waiting.push_back(Packet::from(Buffer::from(frame(sent, 60 + sent % 1_000))));
                sent += 1;
            }
            queue.tx_burst(NOW, &mut waiting).unwrap();
            queue.rx_burst(NOW, &mut arrived, 64).unwrap();
            if arrived.is_empty() {
                wait(queue);
            }
            for packet in arrived.drain(..) {
                assert!(bytes(&packet) == frame(received, 60 + received % 1_000), "packet {received}");
                received += 1;
            }
        }
        assert!(queue.counters().tx_full > 0, "there was more than there is room");
        back.end();
    }
}

#[test]
fn what_one_pair_of_queues_sends_another_one_receives() {
    let (_folder, mut options) = scene();
    options.queues = 2;
    let back = Running::listen(&options.path, Net::new(ALL, 2));
    let mut host = Host::open(&options);
    for number in 0..300 {
        host.pass(0, 1, packet(number, 6 + number));
        host.pass(1, 0, packet(number, 60 + number));
    }
    // A queue that goes leaves its frames there, into which the back end may be copying, and the session goes on.
    let before = host.pool.counters().in_use_frames;
    drop(host.queues.pop());
    assert_eq!(host.pool.counters().in_use_frames, before);
    drop(host);
    assert!(matches!(back.ended(), (Error::HandleRequest(vhost::vhost_user::Error::Disconnected), 4)));
}

#[test]
fn rings_need_not_be_enabled_without_protocol_features() {
    let (_folder, options) = scene();
    let back = Running::listen(&options.path, Net::new(ALL & !features::VHOST_USER_PROTOCOL, 1));
    Host::open(&options).exchange(100, &[6, 1_460, 60_000]);
    assert!(matches!(back.ended(), (Error::HandleRequest(vhost::vhost_user::Error::Disconnected), 2)));
}

#[test]
fn a_back_end_that_has_ended_is_served_again() {
    let (_folder, options) = scene();
    let back = Running::listen(&options.path, Net::new(ALL, 1));
    let mut host = Host::open(&options);
    host.exchange(20, &[6, 9_000]);
    let kept = host.pass(0, 0, packet(1, 700));
    back.end();
    for times in 1..4 {
        send(&mut *host.queues[0], packet(2, 100));
        // Rings of another kind each time; the offloads are those that the stack relies on.
        let without = if times == 2 { features::EVENT_IDX | features::INDIRECT_DESC } else { 0 };
        let back = Running::listen(&options.path, Net::new(ALL & !without, 1));
        host.meet_again(times);
        host.exchange(20, &[6, 9_000]);
        assert_eq!(back.end() & (features::EVENT_IDX | features::INDIRECT_DESC) == 0, without != 0);
    }
    assert_eq!(bytes(&kept), bytes(&packet(1, 700)), "what was received stays");
}

#[test]
fn one_that_comes_back_with_less_is_refused() {
    let (_folder, options) = scene();
    let back = Running::listen(&options.path, Net::new(ALL, 1));
    let mut host = Host::open(&options);
    back.end();
    let less = Running::listen(&options.path, Net::new(ALL & !features::HOST_TSO4, 1));
    assert!(matches!(less.ended(), (Error::HandleRequest(_), 0)), "the stack makes large packets");
    let back = Running::listen(&options.path, Net::new(ALL, 1));
    host.meet_again(1);
    assert!(host.queues[0].counters().peer_errors > 0);
    host.exchange(20, &[6, 9_000]);
    back.end();
}

#[test]
fn a_back_end_may_connect_also_when_it_comes_back() {
    let (_folder, mut options) = scene();
    options.is_server = true;
    let back = Running::connect(&options.path, Net::new(ALL, 1));
    let mut host = Host::open(&options);
    host.exchange(20, &[6, 9_000]);
    back.end();
    let back = Running::connect(&options.path, Net::new(ALL, 1));
    host.meet_again(1);
    host.exchange(20, &[6, 9_000]);
    back.end();
}

#[test]
fn a_back_end_with_fewer_queues_is_refused() {
    let (_folder, mut options) = scene();
    let open = |options: &FrontOptions, pairs| {
        let back = Running::listen(&options.path, Net::new(ALL, pairs));
        let error = VhostUserFront::open(options, SharedMemory::new(16 << 20).unwrap()).unwrap_err().to_string();
        back.ended();
        error
    };
    options.queues = 5;
    // What the crates answer with is the number of rings.
    assert!(open(&options, 2).ends_with("it has 4 pairs of queues, fewer than the 5 that are wanted"));
    options.queues = 3;
    let error = open(&options, 2);
    assert!(error.ends_with("it refuses SET_VRING_CALL, with 1"), "{error}");
}

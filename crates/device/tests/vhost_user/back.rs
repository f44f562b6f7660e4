//! Vhost-user back ends with DPDK's front end (`net_virtio_user`): `dpdk-testpmd` sends each packet back with its addresses swapped.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::task::{Context, Waker};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sunstar_device::{BackOptions, Device, Queue, Readiness, VhostUserBack};
use sunstar_packet::{Buffer, Packet, Pool, PoolOptions};

use crate::support::{NOW, bytes, copy, frame, swapped};

/// The other process.
struct VirtioUser {
    child: Child,
}

impl VirtioUser {
    fn start(folder: &Path, queues: usize, mode: &str, vdev: &str) -> Self {
        let socket = folder.join("socket");
        let vdev = format!("net_virtio_user0,path={},queues={queues}{vdev}", socket.display());
        let counts = [format!("--rxq={queues}"), format!("--txq={queues}"), format!("--forward-mode={mode}")];
        let child = Command::new("dpdk-testpmd")
            .args(["--no-pci", "--no-huge", "-m", "512", "--no-shconf", "--single-file-segments"])
            .args(["--lcores", "0@(0-1),1@(0-1)", "--vdev", &vdev])
            .args(["--", "--auto-start", "--no-mlockall", "--total-num-mbufs=8192"])
            .args(counts)
            .env("RUNTIME_DIRECTORY", folder)
            .stdin(Stdio::piped())
            .stdout(fs::File::create(folder.join("testpmd.log")).unwrap())
            .stderr(fs::File::create(folder.join("testpmd.err")).unwrap())
            .spawn()
            .unwrap();
        Self { child }
    }
}

impl Drop for VirtioUser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The device's side.
struct Switch {
    folder: tempfile::TempDir,
    queues: Vec<Box<dyn Queue>>,
}

impl Switch {
    fn open(queues: usize, is_server: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = BackOptions { queues, is_server, ..BackOptions::new(folder.path().join("socket")) };
        let mut back = VhostUserBack::open(&options).unwrap();
        let frames = PoolOptions { frame_bytes: 2_048, headroom_bytes: 64, limit_frames: 4_000 };
        let pool = Rc::new(Pool::new(frames).unwrap());
        let queues = (0..queues).map(|index| back.take_queue(index).unwrap().attach(Rc::clone(&pool)).unwrap());
        let queues = queues.collect();
        Self { folder, queues }
    }

    fn receive(&mut self) -> VecDeque<Packet> {
        let mut arrived = VecDeque::new();
        for queue in &mut self.queues {
            queue.rx_burst(NOW, &mut arrived, 256).unwrap();
        }
        arrived
    }

    /// Sleeps as a shard does, for a moment at most.
    fn sleep(&mut self) {
        for queue in &mut self.queues {
            if let Readiness::Descriptor { fd, .. } = queue.poll_ready(&mut Context::from_waker(Waker::noop())) {
                let tick = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
                poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&tick)).unwrap();
            }
        }
    }

    /// Sends a frame until it comes back. Those that were sent again come when others are waited for.
    fn ask(&mut self, queue: usize, packet: &Packet) {
        let expected = swapped(&bytes(packet));
        for _ in 0..2_000 {
            let mut packets = VecDeque::from([copy(packet)]);
            self.queues[queue].tx_burst(NOW, &mut packets).unwrap();
            for _ in 0..20 {
                if self.receive().iter().any(|answer| bytes(answer) == expected) {
                    return;
                }
                self.sleep();
            }
        }
        panic!("nothing comes back: {}", fs::read_to_string(self.folder.path().join("testpmd.err")).unwrap());
    }

    /// Frames of all sizes go there and back.
    fn exchange(&mut self) {
        self.ask(0, &Packet::from(Buffer::from(frame(0, 60))));
        for _ in 0..20 {
            self.sleep();
            self.receive();
        }
        for (number, len) in (0..200).zip([60, 1_514, 61, 300, 1_000].into_iter().cycle()) {
            let frame = frame(number, len);
            self.ask(number % self.queues.len(), &Packet::from(Buffer::from(frame)));
        }
        for queue in &self.queues {
            let of = queue.counters();
            assert_eq!(of.rx_malformed + of.rx_truncated + of.tx_refused + of.peer_errors, 0, "{of:?}");
            assert_eq!((of.rx_copies, of.tx_copies), (of.rx_packets, of.tx_packets), "each is copied once");
        }
    }
}

#[test]
#[ignore = "needs dpdk-testpmd"]
fn dpdks_driver_is_served_with_rings_of_each_kind() {
    for vdev in
        [",in_order=0", ",in_order=1", ",mrg_rxbuf=0,in_order=0", ",packed_vq=1,in_order=0", ",packed_vq=1,in_order=1"]
    {
        let mut switch = Switch::open(1, true);
        let _testpmd = VirtioUser::start(switch.folder.path(), 1, "macswap", vdev);
        switch.exchange();
    }
}

#[test]
#[ignore = "needs dpdk-testpmd"]
fn dpdks_driver_is_served_again_after_it_was_killed() {
    let mut switch = Switch::open(1, true);
    for _ in 0..2 {
        let testpmd = VirtioUser::start(switch.folder.path(), 1, "macswap", "");
        switch.exchange();
        drop(testpmd);
    }
    assert_eq!(switch.queues[0].counters().reconnects, 1);
}

#[test]
#[ignore = "needs dpdk-testpmd"]
fn dpdks_driver_has_several_queues_and_may_listen() {
    let mut switch = Switch::open(2, false);
    let _testpmd = VirtioUser::start(switch.folder.path(), 2, "macswap", ",server=1");
    switch.exchange();
}

#[test]
#[ignore = "needs dpdk-testpmd"]
fn dpdks_driver_may_send_as_fast_as_it_can() {
    let mut switch = Switch::open(1, true);
    let _testpmd = VirtioUser::start(switch.folder.path(), 1, "txonly", "");
    let (mut count, mut rounds) = (0, 0);
    while count < 100_000 {
        let packets = switch.receive();
        if packets.is_empty() {
            switch.sleep();
            rounds += 1;
            assert!(rounds < 12_000, "{count} packets have come, and then none for a minute");
        } else {
            rounds = 0;
        }
        assert!(packets.iter().all(|packet| packet.len() == 64));
        count += packets.len();
    }
}

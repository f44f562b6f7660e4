//! Front ends with DPDK's back end (`net_vhost`), which is not this repository's: `dpdk-testpmd` sends each packet back with its addresses
//! swapped.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::task::{Context, Waker};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sunstar_device::{Device, FrontOptions, Queue, Readiness, Ring};
use sunstar_packet::{Buffer, Packet};

use crate::support::{Host, NOW, bytes, copy, frame, swapped};

/// The other process.
struct Testpmd {
    child: Child,
}

impl Testpmd {
    /// Starts it, to meet at `socket` in the folder. `vdev` is what else it is told of its device.
    fn start(folder: &Path, queues: usize, vdev: &str) -> Self {
        let socket = folder.join("socket");
        let vdev = format!("net_vhost0,iface={},queues={queues}{vdev}", socket.display());
        let counts = [format!("--rxq={queues}"), format!("--txq={queues}")];
        let child = Command::new("dpdk-testpmd")
            .args(["--no-pci", "--no-huge", "-m", "512", "--no-shconf", "--lcores", "0@(0-1),1@(0-1)", "--vdev", &vdev])
            .args(["--", "--forward-mode=macswap", "--auto-start", "--no-mlockall", "--total-num-mbufs=8192"])
            .args(counts)
            .env("RUNTIME_DIRECTORY", folder)
            .stdin(Stdio::piped())
            .stdout(fs::File::create(folder.join("testpmd.log")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child }
    }
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Host {
    /// Sends a frame by a queue until it comes back by any. Until testpmd forwards, frames may be lost; and those that were sent again
    /// come when others are waited for.
    fn ask(&mut self, queue: usize, frame: &Packet) {
        let expected = swapped(&bytes(frame));
        for _ in 0..1_000 {
            let mut packets = VecDeque::new();
            packets.push_back(copy(frame));
            self.queues[queue].tx_burst(NOW, &mut packets).unwrap();
            let mut arrived = VecDeque::new();
            for _ in 0..20 {
                for queue in &mut self.queues {
                    queue.rx_burst(NOW, &mut arrived, 32).unwrap();
                }
                if arrived.drain(..).any(|packet| bytes(&packet) == expected) {
                    return;
                }
                self.sleep();
            }
        }
        panic!("a frame of {} bytes does not come back", expected.len());
    }

    fn sleep(&mut self) {
        for queue in &mut self.queues {
            if let Readiness::Descriptor { fd, .. } = queue.poll_ready(&mut Context::from_waker(Waker::noop())) {
                let tick = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
                poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&tick)).unwrap();
            }
        }
    }

    /// Takes in what is still on its way.
    fn settle(&mut self) {
        let mut arrived = VecDeque::new();
        for _ in 0..20 {
            self.sleep();
            for queue in &mut self.queues {
                queue.rx_burst(NOW, &mut arrived, 256).unwrap();
            }
        }
    }
}

/// Frames of all sizes go there and back, from the heap and from the memory that is shared.
fn exchange(host: &mut Host) {
    let first = Packet::from(Buffer::from(frame(0, 60)));
    host.ask(0, &first);
    host.settle();
    let queues = host.queues.len();
    for (number, len) in (0..200).zip([60, 1_514, 61, 300, 1_000].into_iter().cycle()) {
        let frame = frame(number, len);
        let mut shared = host.pool.take().unwrap();
        shared.extend_from_slice(&frame).unwrap();
        for packet in [Packet::from(Buffer::copy_from_slice(&frame)), Packet::from(shared.freeze())] {
            host.ask(number % queues, &packet);
        }
    }
    let counters: Vec<_> = host.queues.iter().map(|queue| queue.counters()).collect();
    assert_eq!(counters.iter().map(|of| of.rx_malformed + of.rx_truncated + of.tx_refused).sum::<u64>(), 0);
    let (sent, copied) =
        counters.iter().fold((0, 0), |(sent, copied), of| (sent + of.tx_packets, copied + of.tx_copies));
    // Short ones go with the header, of which there must be one beside a buffer that others have too.
    assert!(copied >= 280 && sent - copied >= 120, "of those in the memory 120 were long: {copied} of {sent}");
}

fn scene(ring: Ring, queues: usize) -> (tempfile::TempDir, FrontOptions) {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("socket");
    (folder, FrontOptions { ring, queues, ..FrontOptions::new(path) })
}

#[test]
#[ignore = "needs dpdk-testpmd"]
fn split_rings_work_with_dpdk_also_after_it_was_killed() {
    let (folder, options) = scene(Ring::Split, 1);
    let testpmd = Testpmd::start(folder.path(), 1, "");
    let mut host = Host::open(&options);
    exchange(&mut host);
    drop(testpmd);
    fs::remove_file(&options.path).unwrap();
    let _testpmd = Testpmd::start(folder.path(), 1, "");
    for _ in 0..600 {
        if host.queues[0].counters().reconnects > 0 {
            break;
        }
        host.settle();
    }
    assert_eq!(host.queues[0].counters().reconnects, 1, "it comes back within a minute");
    exchange(&mut host);
}

#[test]
#[ignore = "needs dpdk-testpmd"]
fn packed_rings_work_with_dpdk() {
    let (folder, options) = scene(Ring::Packed, 1);
    let _testpmd = Testpmd::start(folder.path(), 1, "");
    exchange(&mut Host::open(&options));
}

#[test]
#[ignore = "needs dpdk-testpmd"]
fn two_pairs_of_queues_work_with_dpdk() {
    let (folder, options) = scene(Ring::Split, 2);
    let _testpmd = Testpmd::start(folder.path(), 2, "");
    exchange(&mut Host::open(&options));
}

#[test]
#[ignore = "needs dpdk-testpmd"]
fn dpdk_may_connect_and_offer_segmentation() {
    let (folder, mut options) = scene(Ring::Split, 1);
    options.is_server = true;
    let _testpmd = Testpmd::start(folder.path(), 1, ",client=1,tso=1");
    let mut host = Host::open(&options);
    let can = host.front.capabilities();
    assert!(can.tx.checksum && can.tx.tso4 && can.tx.tso6 && can.rx.tso4);
    exchange(&mut host);
}

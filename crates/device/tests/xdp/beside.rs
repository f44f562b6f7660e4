//! Ends that send beside a queue, by its memory.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread::sleep;
use std::time::Duration;

use sunstar_device::{Device, Queue, Readiness, Xdp};
use sunstar_packet::{Buffer, Packet, Pool, PoolOptions};
use sunstar_wire::EtherType;

use crate::namespace::{in_namespace, ip};
use crate::sending::datagram;
use crate::wire::{HOST, Host, NOW, UDP_PORT, meet, open, pair};
use crate::{kernel_socket, pattern};

/// Pieces that an end has out at most.
const MAX_OUT: usize = 2_048;

/// The end of a shard beyond the queues.
struct Sender {
    queue: Box<dyn Queue>,
    pool: Rc<Pool>,
    packets: VecDeque<Packet>,
}

impl Sender {
    fn new(device: &mut Xdp, shard: usize) -> Self {
        let queue = device.take_sender(shard).expect("there is a queue beside which it can send");
        let usual = PoolOptions { frame_bytes: 0, headroom_bytes: 0, limit_frames: 8_192 };
        let pool = Rc::new(queue.pool(usual).expect("the frames are small"));
        let queue = queue.attach(Rc::clone(&pool)).expect("the frames suit it");
        Self { queue, pool, packets: VecDeque::new() }
    }

    /// Sends what waits; answers how many packets.
    fn burst(&mut self) -> usize {
        let received = self.queue.rx_burst(NOW, &mut VecDeque::new(), 32).expect("the device works");
        assert_eq!(received, 0);
        self.queue.tx_burst(NOW, &mut self.packets).expect("the device works")
    }

    fn send(&mut self, packet: Packet) {
        self.packets.push_back(packet);
        assert_eq!(self.burst(), 1);
    }
}

/// Counts how often somebody is called.
#[derive(Default)]
struct Calls(AtomicU32);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_has_no_queue_sends_from_the_memory_of_one() {
    in_namespace(|| {
        pair(1);
        let mut device = open("here");
        let (mut host, mut sender) = (Host::new(&mut device, 0), Sender::new(&mut device, 1));
        let kernel = kernel_socket();
        let (headers, buffers) = (host.sends.headers().unwrap(), host.sends.buffers().unwrap());
        let mut long = buffers.take(1_400).unwrap();
        long.extend_from_slice(&pattern(1_400)).unwrap();
        let (long, elsewhere) = (long.freeze(), Buffer::from(pattern(1_000)));
        for (parts, copies) in [(&long, 0), (&elsewhere, 1), (&long, 1)] {
            let packet = datagram(&host, &headers, std::slice::from_ref(parts));
            sender.send(packet);
            let mut arrived = [0; 2_000];
            let count = kernel.recv(&mut arrived).unwrap();
            assert!(arrived[..count] == parts[..]);
            assert_eq!(sender.queue.counters().tx_copies, copies);
        }
        let counters = sender.queue.counters();
        assert_eq!((counters.tx_packets, counters.rx_packets, host.queue.counters().tx_packets), (3, 0, 0));
        drop(long);
        sender.burst();
        assert!(buffers.counters().in_use_frames > 0, "the queue's keeper has not looked what was sent");
        host.settle(0);
        sender.burst();
        let left = [headers.counters(), buffers.counters(), sender.pool.counters()].map(|of| of.in_use_frames);
        assert_eq!(left, [0; 3], "all came back");
        // What is received comes to the queue alone.
        kernel.send_to(b"to the stack", (HOST, UDP_PORT)).unwrap();
        host.receive(EtherType::IPV4);
        sender.burst();
    });
}

#[test]
fn a_sender_waits_for_a_keeper_who_sleeps_and_calls_him() {
    in_namespace(|| {
        pair(1);
        let mut device = open("here");
        let (mut host, mut sender) = (Host::new(&mut device, 0), Sender::new(&mut device, 1));
        let headers = host.sends.headers().unwrap();
        let calls = Arc::new(Calls::default());
        let waker = Waker::from(Arc::clone(&calls));
        host.queue.poll_ready(&mut Context::from_waker(&waker));
        let more = MAX_OUT + 100;
        let mut sent = 0;
        for _ in 0..more {
            // Frames of headers are few.
            let packet = host.datagram(&[Buffer::from_static(b"one of many")]);
            sender.packets.push_back(packet);
            sent += sender.burst();
            if !sender.packets.is_empty() {
                break;
            }
        }
        // Each is copied to a frame, of which a sender has fewer than may be out.
        assert!((1_000..MAX_OUT).contains(&sent), "{sent}");
        assert_eq!(sender.queue.counters().tx_full, 1);
        assert_eq!(calls.0.load(Ordering::Relaxed), 1, "he is called once, until he sleeps again");
        assert!(sender.queue.deadline().is_some(), "nobody tells when there is room");
        host.burst();
        assert_eq!(sender.burst(), 1, "he has looked");
        drop(headers);
        // Many small pieces of few frames, which lie in the memory already.
        let buffers = host.sends.buffers().unwrap();
        let mut frame = buffers.take(1_400).unwrap();
        frame.extend_from_slice(&host.datagram(&[Buffer::from(pattern(1_300))]).buffers()[0]).unwrap();
        frame.extend_from_slice(&pattern(1_300)).unwrap();
        let frame = frame.freeze();
        host.settle(0);
        sender.burst();
        sender.packets.extend(std::iter::repeat_with(|| Packet::from(frame.clone())).take(more));
        let mut sent = 0;
        for _ in 0..100 {
            sent += sender.burst();
        }
        assert_eq!((sent, sender.packets.len()), (MAX_OUT, 100));
        assert!(sender.queue.deadline().is_some());
        host.burst();
        assert_eq!((sender.burst(), sender.packets.len()), (100, 0));
        drop(frame);
        host.settle(0);
        sender.burst();
        assert_eq!(buffers.counters().in_use_frames, 0);
    });
}

#[test]
fn a_frame_that_two_send_is_kept_until_both_are_sent() {
    in_namespace(|| {
        pair(1);
        let mut device = open("here");
        let (mut host, mut sender) = (Host::new(&mut device, 0), Sender::new(&mut device, 1));
        let mut other = Sender::new(&mut device, 2);
        let kernel = kernel_socket();
        let buffers = host.sends.buffers().unwrap();
        let mut frame = buffers.take(1_400).unwrap();
        frame.extend_from_slice(&host.datagram(&[Buffer::from_static(b"twice")]).buffers()[0]).unwrap();
        frame.extend_from_slice(b"twice").unwrap();
        let frame = frame.freeze();
        for _ in 0..50 {
            host.send(Packet::from(frame.clone()));
            sender.send(Packet::from(frame.clone()));
            other.send(Packet::from(frame.clone()));
            for _ in 0..3 {
                let mut arrived = [0; 100];
                assert_eq!(kernel.recv(&mut arrived).unwrap(), 5);
            }
        }
        drop(frame);
        host.settle(0);
        assert_eq!(buffers.counters().in_use_frames, 1, "others have not looked");
        sender.burst();
        assert_eq!(buffers.counters().in_use_frames, 1, "one has not looked");
        other.burst();
        assert_eq!(buffers.counters().in_use_frames, 0);
    });
}

#[test]
fn an_interface_that_is_down_keeps_what_is_to_be_sent() {
    in_namespace(|| {
        pair(1);
        let mut device = open("here");
        let (host, mut sender) = (Host::new(&mut device, 0), Sender::new(&mut device, 3));
        let kernel = kernel_socket();
        ip("link set here down");
        sender.send(host.datagram(&[Buffer::from_static(b"later")]));
        let until = sender.queue.deadline().expect("nobody tells when it is up again");
        ip("link set here up");
        meet(host.mac());
        while kernel.set_read_timeout(Some(Duration::from_millis(20))).is_ok() && kernel.recv(&mut [0; 64]).is_err() {
            sender.queue.rx_burst(until, &mut VecDeque::new(), 32).unwrap();
            sender.queue.tx_burst(until, &mut VecDeque::new()).unwrap();
            sleep(Duration::from_millis(1));
        }
        assert!(matches!(sender.queue.poll_ready(&mut Context::from_waker(Waker::noop())), Readiness::Woken));
        ip("link del there");
        sender.packets.push_back(host.datagram(&[Buffer::from_static(b"nowhere")]));
        let gone = sender.queue.tx_burst(NOW, &mut sender.packets);
        assert!(gone.is_err(), "the interface is gone");
    });
}

#[test]
fn nobody_sends_beside_a_queue_that_is_gone() {
    in_namespace(|| {
        pair(1);
        let mut device = open("here");
        let host = Host::new(&mut device, 0);
        let mut sender = Sender::new(&mut device, 1);
        let last = host.datagram(&[Buffer::from_static(b"still")]);
        drop(host);
        assert!(device.take_sender(2).is_none());
        let kernel = kernel_socket();
        sender.send(last);
        assert_eq!(kernel.recv(&mut [0; 64]).unwrap(), 5);
    });
}

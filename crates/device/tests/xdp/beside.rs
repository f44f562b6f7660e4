//! Ends that send beside a queue, by its memory.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use sunstar_device::{DetachedQueue, Device, Queue, Readiness, Xdp};
use sunstar_packet::{Buffer, Packet, Pool, PoolOptions};
use sunstar_wire::EtherType;

use crate::namespace::{in_namespace, ip};
use crate::sending::datagram;
use crate::wire::{HOST, Host, NOW, UDP_PORT, meet, open, pair};
use crate::{kernel_socket, pattern};

/// Pieces that an end has out at most, and so many that the keeper is called.
const MAX_OUT: usize = 2_048;
const CALL_OUT: usize = 128;

/// So many ends a queue has beside it.
const MAX_SENDERS: usize = 8;

/// The end of a shard beyond the queues.
struct Sender {
    queue: Box<dyn Queue>,
    pool: Rc<Pool>,
    packets: VecDeque<Packet>,
}

impl Sender {
    fn new(device: &mut Xdp, shard: usize) -> Self {
        Self::attach(device.take_sender(shard).expect("there is a queue beside which it can send"))
    }

    fn attach(queue: DetachedQueue) -> Self {
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

/// Has the keeper of a queue sleep, and counts how often he is called.
fn sleep_at(host: &mut Host) -> Arc<Calls> {
    let calls = Arc::new(Calls::default());
    host.queue.poll_ready(&mut Context::from_waker(&Waker::from(Arc::clone(&calls))));
    calls
}

#[test]
fn a_keeper_who_sleeps_is_called_when_much_is_out_or_frames_are_missing() {
    in_namespace(|| {
        pair(1);
        let mut device = open("here");
        let (mut host, mut sender) = (Host::new(&mut device, 0), Sender::new(&mut device, 1));
        let calls = sleep_at(&mut host);
        let packet = |host: &Host| host.datagram(&[Buffer::from_static(b"copied to a frame")]);
        for sent in 0..2 * CALL_OUT {
            assert_eq!(calls.0.load(Ordering::Relaxed), u32::from(sent >= CALL_OUT), "once, until he sleeps again");
            sender.send(packet(&host));
        }
        // What was sent before he sleeps he finds on his way there.
        let calls = sleep_at(&mut host);
        sender.burst();
        let mut frames: Vec<_> = std::iter::from_fn(|| sender.pool.take()).collect();
        assert!(frames.len() > 400 && sender.pool.counters().in_use_frames == frames.len());
        frames.truncate(frames.len() - 10);
        for _ in 0..10 {
            sender.send(packet(&host));
        }
        assert_eq!((calls.0.load(Ordering::Relaxed), sender.queue.deadline()), (0, None));
        sender.packets.push_back(packet(&host));
        assert_eq!((sender.burst(), calls.0.load(Ordering::Relaxed)), (0, 1));
        assert!(sender.queue.deadline().is_some(), "nobody tells when there is a frame");
        assert_eq!(sender.queue.counters().tx_full, 1);
        host.burst();
        assert_eq!(sender.burst(), 1);
    });
}

#[test]
fn a_sender_has_a_bounded_number_of_pieces_out() {
    in_namespace(|| {
        pair(1);
        let mut device = open("here");
        let (mut host, mut sender) = (Host::new(&mut device, 0), Sender::new(&mut device, 1));
        let buffers = host.sends.buffers().unwrap();
        let mut frame = buffers.take(1_400).unwrap();
        frame.extend_from_slice(&host.datagram(&[Buffer::from(pattern(1_300))]).buffers()[0]).unwrap();
        frame.extend_from_slice(&pattern(1_300)).unwrap();
        let frame = frame.freeze();
        sender.packets.extend(std::iter::repeat_with(|| Packet::from(frame.clone())).take(MAX_OUT + 100));
        let sent: usize = (0..100).map(|_| sender.burst()).sum();
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
fn what_a_sender_leaves_behind_is_nobodys_any_more() {
    in_namespace(|| {
        pair(1);
        let mut device = open("here");
        let mut host = Host::new(&mut device, 0);
        let [mut first, mut second] = [1, 2].map(|shard| Sender::new(&mut device, shard));
        let buffers = host.sends.buffers().unwrap();
        let frame = |host: &Host| {
            let mut frame = buffers.take(1_400).unwrap();
            frame.extend_from_slice(&host.datagram(&[Buffer::from_static(b"last")]).buffers()[0]).unwrap();
            frame.extend_from_slice(b"last").unwrap();
            Packet::from(frame.freeze())
        };
        first.send(frame(&host));
        host.settle(0);
        first.burst();
        assert_eq!(buffers.counters().in_use_frames, 0);
        first.send(frame(&host));
        drop(first);
        host.settle(0);
        // The mark of that frame must not be taken for that of another one's piece in it.
        for _ in 0..100 {
            second.send(frame(&host));
            assert_eq!(buffers.counters().in_use_frames, 2);
            host.settle(0);
            second.burst();
            assert_eq!(buffers.counters().in_use_frames, 1);
        }
    });
}

/// Wakes a thread.
struct Bell(Thread);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
fn shards_send_beside_a_keeper_who_sleeps_when_nothing_comes() {
    const EACH: u32 = 20_000;
    in_namespace(|| {
        pair(1);
        let mut device = open("here");
        let mut host = Host::new(&mut device, 0);
        let kernel = kernel_socket();
        kernel.set_nonblocking(true).unwrap();
        let frames: Vec<Vec<u8>> = [b'a', b'b', b'c']
            .map(|letter| {
                let packet = host.datagram(&[Buffer::from(vec![letter; 300])]);
                packet.buffers().iter().flat_map(|buffer| buffer.to_vec()).collect()
            })
            .into();
        let senders = (1..).zip(frames).map(|(shard, frame)| {
            let detached = device.take_sender(shard).expect("there is a queue");
            thread::spawn(move || {
                let mut sender = Sender::attach(detached);
                let mut sent = 0;
                while sent < EACH || sender.pool.counters().in_use_frames > 0 {
                    if sender.packets.is_empty() && sent < EACH {
                        sender.packets.extend((0..50).map(|_| Packet::from(Buffer::from(frame.clone()))));
                        sent += 50;
                    }
                    if sender.burst() == 0 {
                        thread::yield_now();
                    }
                }
                assert_eq!(sender.queue.counters().tx_packets, EACH.into());
            })
        });
        let senders: Vec<_> = senders.collect();
        let waker = Waker::from(Arc::new(Bell(thread::current())));
        let mut rounds = 0..12_000;
        let (mut arrived, mut bytes) = (0, [0; 400]);
        while senders.iter().any(|sender| !sender.is_finished()) {
            rounds.next().expect("somebody waits for ever");
            host.burst();
            host.arrived.clear();
            host.queue.poll_ready(&mut Context::from_waker(&waker));
            while let Ok(len) = kernel.recv(&mut bytes) {
                assert!(len == 300 && bytes[..300].iter().all(|byte| *byte == bytes[0]), "a datagram of two");
                arrived += 1;
            }
            thread::park_timeout(Duration::from_millis(5));
        }
        for sender in senders {
            sender.join().expect("it has no failure");
        }
        assert!(arrived > 1_000, "{arrived}");
    });
}

#[test]
fn a_queue_has_so_many_beside_it() {
    in_namespace(|| {
        pair(2);
        let mut device = open("here");
        let _hosts = [0, 1].map(|queue| Host::new(&mut device, queue));
        let senders: Vec<_> = (2..100).map_while(|shard| device.take_sender(shard)).collect();
        assert_eq!(senders.len(), 2 * MAX_SENDERS);
        // Each has frames, whatever others have.
        for sender in senders.into_iter().map(Sender::attach) {
            std::mem::forget(std::iter::from_fn(|| sender.pool.take()).take(400).collect::<Vec<_>>());
            assert_eq!(sender.pool.counters().in_use_frames, 400);
        }
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
        kernel.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut tries = 0..500;
        while kernel.recv(&mut [0; 64]).is_err() {
            tries.next().expect("it comes when the interface is up again");
            sender.queue.rx_burst(until, &mut VecDeque::new(), 32).unwrap();
            sender.queue.tx_burst(until, &mut VecDeque::new()).unwrap();
        }
        assert!(matches!(sender.queue.poll_ready(&mut Context::from_waker(Waker::noop())), Readiness::Woken));
        ip("link del there");
        sender.packets.push_back(host.datagram(&[Buffer::from_static(b"nowhere")]));
        let gone = sender.queue.tx_burst(NOW, &mut sender.packets);
        assert!(gone.is_err(), "the interface is gone");
    });
}

#[test]
fn beside_a_queue_that_is_gone_nobody_begins_to_send() {
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

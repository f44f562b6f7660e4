//! What applications send from memory of a device, and how often it is copied on its way.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use sunstar_device::{
    BackOptions, Capabilities, Counters, Device, FrontOptions, LinkOptions, Queue, QueueError, Readiness, SendMemory,
    SharedMemory, VhostUserBack, VhostUserFront, link,
};
use sunstar_executor::Instant;
use sunstar_native::NetworkOptions;
use sunstar_net::allocate_buffer;
use sunstar_packet::{Buffer, BufferMut, Packet, Pool, PoolOptions, SlabMemory};
use sunstar_sim::Sim;

use crate::support::*;

const MIB: usize = 1 << 20;

/// Memory of a device, of which so many bytes are for what applications send.
fn memory(buffer_bytes: usize) -> (Arc<SharedMemory>, SendMemory) {
    let shared = SharedMemory::new(64 * MIB).expect("there is memory");
    let slabs: Arc<dyn SlabMemory> = shared.clone();
    (shared, SendMemory::new(&slabs, 4 * MIB, buffer_bytes, 64))
}

fn filled(mut buffer: BufferMut, bytes: &[u8]) -> Buffer {
    buffer.extend_from_slice(bytes).expect("there is room");
    buffer.freeze()
}

fn lies_in(memory: &SharedMemory, buffer: &[u8]) -> bool {
    memory.offset_of(buffer.as_ptr(), buffer.len()).is_some()
}

#[test]
fn what_lies_in_the_devices_memory_leaves_from_there_again_and_again() {
    const LEN: usize = 100_000;
    let (here, there) = link(LinkOptions::default());
    let (shared, sends) = memory(16 * MIB);
    let sent = Rc::new(Cell::new(0));
    let mut sim = Sim::new(1);
    let place = Rc::clone(&sent);
    let outside = Arc::clone(&shared);
    sim.host("server", 1, move || {
        start(here, SERVER, NetworkOptions::DEFAULT);
        async move {
            let listener = listen(80);
            for _ in 0..2 {
                let stream = accept(&listener).await;
                let mut came = 0;
                while came < LEN {
                    let bytes = read(&stream).await.expect("the link is a good one");
                    assert!(lies_in(&outside, &bytes), "the link hands over what was sent");
                    assert_eq!(bytes.as_ptr().addr(), place.get() + came, "it is the memory that was written");
                    assert!(bytes == pattern(came, bytes.len()));
                    came += bytes.len();
                }
            }
        }
    });
    sim.host("client", 1, move || {
        let network = start(there, CLIENT, NetworkOptions::DEFAULT);
        let (_, interface) = native();
        network.set_send_memory(interface, &sends).expect("frames are small");
        async move {
            let page = filled(allocate_buffer(LEN), &pattern(0, LEN));
            assert!(lies_in(&shared, &page));
            sent.set(page.as_ptr().addr());
            for _ in 0..2 {
                let stream = connect(&server(80)).await.expect("somebody listens");
                write(&stream, page.clone()).await.expect("the link is a good one");
                stream.shutdown();
                flush(&stream).await.expect("the link is a good one");
            }
        }
    });
    sim.run().expect("the world ends well");
}

#[test]
fn each_stream_gets_memory_of_the_device_by_which_it_leaves() {
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
    const OTHER_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
    const PLAIN: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 1);
    const PLAIN_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
    let mut sim = Sim::new(1);
    let [one, other, plain] = [(); 3].map(|()| link(LinkOptions::default()));
    let clients = [(CLIENT, "one", one.1), (OTHER_CLIENT, "other", other.1), (PLAIN_CLIENT, "plain", plain.1)];
    let devices: Vec<(Box<dyn Queue>, Ipv4Addr)> =
        vec![(Box::new(plain.0), PLAIN), (Box::new(one.0), SERVER), (Box::new(other.0), OTHER)];
    sim.host("server", 1, move || {
        let network = start_over(devices);
        let memories = [SERVER, OTHER].map(|address| {
            let (shared, sends) = memory(MIB);
            let interface =
                network.with_stack(|stack| stack.interface_for(neighbour(address)).expect("it has a route"));
            network.set_send_memory(interface, &sends).expect("frames are small");
            shared
        });
        async move {
            for (client, own) in [(CLIENT, Some(0)), (OTHER_CLIENT, Some(1)), (PLAIN_CLIENT, None)] {
                let stream = connect(&std::net::SocketAddr::from((client, 80)).into()).await.expect("somebody listens");
                let buffer = filled(stream.allocate_buffer(100), b"where is it");
                let places: Vec<_> = memories.iter().map(|memory| lies_in(memory, &buffer)).collect();
                assert_eq!(places, [own == Some(0), own == Some(1)], "{client}");
            }
            assert!(lies_in(&memories[0], &filled(allocate_buffer(100), b"in the first that there is")));
        }
    });
    for (address, name, queue) in clients {
        sim.host(name, 1, move || {
            start(queue, address, NetworkOptions::DEFAULT);
            async { drop(accept(&listen(80)).await) }
        });
    }
    sim.run().expect("the world ends well");
}

/// Another station of the same network.
fn neighbour(address: Ipv4Addr) -> std::net::IpAddr {
    let [a, b, c, _] = address.octets();
    Ipv4Addr::new(a, b, c, 99).into()
}

#[test]
fn memory_that_is_used_up_is_replaced_by_the_heap_and_comes_back() {
    let (here, there) = link(LinkOptions::default());
    let (shared, sends) = memory(2 * MIB);
    let mut sim = Sim::new(1);
    sim.host("server", 1, move || {
        start(here, SERVER, NetworkOptions::DEFAULT);
        async {
            let stream = accept(&listen(80)).await;
            assert!(read_all(&stream).await.expect("the link is a good one") == pattern(0, 3 * MIB));
        }
    });
    sim.host("client", 1, move || {
        let network = start(there, CLIENT, NetworkOptions::DEFAULT);
        let (_, interface) = native();
        network.set_send_memory(interface, &sends).expect("frames are small");
        network.publish().expect("it is the first one");
        async move {
            let stream = connect(&server(80)).await.expect("somebody listens");
            let mut kept = Vec::new();
            for part in 0..48 {
                kept.push(filled(stream.allocate_buffer(MIB / 16), &pattern(part * MIB / 16, MIB / 16)));
            }
            let inside = kept.iter().filter(|buffer| lies_in(&shared, buffer)).count();
            assert!((20..32).contains(&inside), "{inside}");
            let shown = sunstar_metrics::prometheus::text(&sunstar_metrics::gather().await);
            let heap = format!("sunstar_device_heap_buffers_total{{device=\"link\",shard=\"0\"}} {}", 48 - inside);
            assert!(shown.lines().any(|line| line == heap), "{heap} in {shown}");
            for buffer in kept {
                write(&stream, buffer).await.expect("the link is a good one");
            }
            assert!(!lies_in(&shared, &stream.allocate_buffer(MIB + 1)), "so large is none");
            stream.shutdown();
            flush(&stream).await.expect("the link is a good one");
            assert!(lies_in(&shared, &filled(stream.allocate_buffer(MIB / 16), b"again")));
        }
    });
    sim.run().expect("the world ends well");
}

/// A queue of a device that is looked at every few microseconds of the world's time, and what it has counted.
struct Polled {
    queue: Box<dyn Queue>,
    at: Instant,
    counters: Rc<Cell<Counters>>,
}

impl Queue for Polled {
    fn capabilities(&self) -> &Capabilities {
        self.queue.capabilities()
    }

    fn rx_burst(&mut self, now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError> {
        self.at = now;
        let result = self.queue.rx_burst(now, out, max);
        self.counters.set(self.queue.counters());
        result
    }

    fn tx_burst(&mut self, now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
        self.at = now;
        let result = self.queue.tx_burst(now, packets);
        self.counters.set(self.queue.counters());
        result
    }

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Readiness<'_> {
        Readiness::Woken
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.at + Duration::from_micros(10))
    }

    fn counters(&self) -> Counters {
        self.queue.counters()
    }
}

fn polled(queue: Box<dyn Queue>) -> (Polled, Rc<Cell<Counters>>) {
    let counters = Rc::new(Cell::new(queue.counters()));
    (Polled { queue, at: Instant::ORIGIN, counters: Rc::clone(&counters) }, counters)
}

const FRAMES: PoolOptions = PoolOptions { frame_bytes: 2_048, headroom_bytes: 64, limit_frames: 4_000 };

/// A front end and a back end that have found each other.
struct Joined {
    front: Box<dyn Queue>,
    back: Box<dyn Queue>,
    /// Of the front end.
    sends: SendMemory,
    /// In which the front end's frames lie, and all that it shares.
    lent: Arc<SharedMemory>,
    /// In which the back end's frames lie.
    own: Arc<SharedMemory>,
}

fn join() -> Joined {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let (lent, own) = (SharedMemory::new(128 * MIB).expect("memory"), SharedMemory::new(64 * MIB).expect("memory"));
    let mut device =
        VhostUserBack::open(&BackOptions { is_server: true, ..BackOptions::new(&path) }).expect("a socket");
    let pool = Rc::new(Pool::with_memory(Arc::clone(&own) as _, FRAMES).expect("frames are small"));
    let mut back = device.take_queue(0).expect("it is there").attach(pool).expect("the frames suit");
    let mut device = VhostUserFront::open(&FrontOptions::new(&path), Arc::clone(&lent)).expect("they agree");
    let queue = device.take_queue(0).expect("it is there");
    let sends = queue.send_memory().expect("it has memory of its own");
    let pool = Rc::new(queue.pool(FRAMES).expect("frames are small"));
    let mut front = queue.attach(pool).expect("the frames suit");
    // What is sent before both have set up their rings is lost.
    let mut arrived = VecDeque::new();
    while arrived.is_empty() {
        let hello = Packet::from(Buffer::from_static(b"nobody's packet"));
        front.tx_burst(Instant::ORIGIN, &mut VecDeque::from([hello])).expect("the queue works");
        back.rx_burst(Instant::ORIGIN, &mut arrived, 32).expect("the queue works");
        std::thread::yield_now();
    }
    Joined { front, back, sends, lent, own }
}

/// What the front end has copied between two looks.
fn copied(before: Counters, after: Counters) -> (u64, u64) {
    (after.tx_copies - before.tx_copies, after.tx_copied_bytes - before.tx_copied_bytes)
}

/// Bytes of the application's memory are copied by the back end, into the frames that the other application reads, and by nobody else.
/// Sends a hundred messages of 64 bytes of the pattern, and gets each of them back in this memory.
async fn exchange_short(stream: &Stream, begin: usize, lent: &SharedMemory) {
    for number in 0..100 {
        let message = pattern(begin + 64 * number, 64);
        let memory = if number % 2 == 0 { stream.allocate_buffer(64) } else { BufferMut::with_capacity(0, 64) };
        write(stream, filled(memory, &message)).await.expect("nothing is lost");
        let answer = read(stream).await.expect("nothing is lost");
        assert!(lies_in(lent, &answer) && answer == message, "the back end has put it into a frame");
    }
}

#[test]
fn between_two_processes_there_is_one_copy_and_none_beside_it() {
    const LEN: usize = 4 * MIB;
    let Joined { front, back, sends, lent, own } = join();
    let ((front, sent), (back, received)) = (polled(front), polled(back));
    let theirs = Arc::clone(&lent);
    let mut sim = Sim::new(1);
    sim.host("server", 1, move || {
        start(back, SERVER, NetworkOptions::DEFAULT);
        async move {
            let listener = listen(80);
            let before = received.get().rx_copied_bytes;
            let stream = accept(&listener).await;
            let (mut came, mut messages) = (0, 0);
            while came < LEN + 100 * 64 {
                let bytes = read(&stream).await.expect("nothing is lost");
                // What is long comes in large frames, which are not the pool's.
                assert!(!lies_in(&theirs, &bytes) && (came < LEN || lies_in(&own, &bytes)), "it reads the frame");
                assert!(bytes == pattern(came, bytes.len()));
                came += bytes.len();
                assert!(came <= LEN || came.is_multiple_of(64), "each message waits for its answer");
                if came >= LEN {
                    // However long the last part of what is long was.
                    let answer = if came == LEN { Buffer::from_static(b"all") } else { bytes };
                    write(&stream, answer).await.expect("the other side waits for it");
                    messages += 1;
                }
            }
            assert_eq!(messages, 101);
            let copied = received.get().rx_copied_bytes - before;
            let headers = copied - (LEN + 100 * 64) as u64;
            assert!(headers < 100_000, "nothing came twice: {headers} bytes of headers");
            stream.shutdown();
            flush(&stream).await.expect("nothing is lost");
        }
    });
    sim.host("client", 1, move || {
        let network = start(front, CLIENT, NetworkOptions::DEFAULT);
        let (_, interface) = native();
        network.set_send_memory(interface, &sends).expect("frames are small");
        async move {
            let stream = connect(&server(80)).await.expect("somebody listens");
            let before = sent.get();
            for part in 0..LEN / MIB {
                let buffer = filled(stream.allocate_buffer(MIB), &pattern(part * MIB, MIB));
                assert!(lies_in(&lent, &buffer));
                write(&stream, buffer).await.expect("nothing is lost");
            }
            assert!(!read(&stream).await.expect("nothing is lost").is_empty(), "all of it has come");
            assert_eq!(copied(before, sent.get()), (0, 0), "{:?}", sent.get());
            // What is short is copied behind its headers, wherever it lies, and nothing else.
            let before = sent.get();
            exchange_short(&stream, LEN, &lent).await;
            assert_eq!(copied(before, sent.get()), (100, 6_400), "{:?}", sent.get());
        }
    });
    sim.run().expect("the world ends well");
}

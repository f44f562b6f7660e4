//! A front end and a back end, as two processes have them: each with its own mapping of the memory.

use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use sunstar_device::{
    BackOptions, Device, FrontOptions, Queue, Readiness, Ring, SharedMemory, VhostUserBack, VhostUserFront,
};
use sunstar_packet::{Packet, Pool, PoolOptions};

use crate::large_pages::LargePages;
use crate::support::{NOW, bytes, empty, packet, receive, send, until, wait};

/// What the front end shares.
const MEMORY_BYTES: usize = 64 << 20;

fn options() -> PoolOptions {
    PoolOptions { frame_bytes: 2_048, headroom_bytes: 64, limit_frames: 4_000 }
}

fn back(path: &Path) -> Box<dyn Queue> {
    let mut device = VhostUserBack::open(&BackOptions { is_server: true, ..BackOptions::new(path) }).unwrap();
    device.take_queue(0).unwrap().attach(Rc::new(Pool::new(options()).unwrap())).unwrap()
}

fn front(options: &FrontOptions) -> (Box<dyn Queue>, Rc<Pool>) {
    front_with(options, SharedMemory::new(MEMORY_BYTES).unwrap())
}

fn front_with(options: &FrontOptions, memory: Arc<SharedMemory>) -> (Box<dyn Queue>, Rc<Pool>) {
    let mut device = VhostUserFront::open(options, memory).unwrap();
    let queue = device.take_queue(0).unwrap();
    let pool = Rc::new(queue.pool(self::options()).unwrap());
    (queue.attach(Rc::clone(&pool)).unwrap(), pool)
}

/// Sends a packet there and back, as often as it may be lost on a connection that is being set up.
fn meet(front: &mut dyn Queue, back: &mut dyn Queue) {
    until("a packet arrives", || {
        front.rx_burst(NOW, &mut VecDeque::new(), 32).unwrap();
        send(front, packet(0, 6));
        let mut arrived = VecDeque::new();
        back.rx_burst(NOW, &mut arrived, 32).unwrap();
        std::thread::yield_now();
        arrived.pop_front()
    });
}

#[test]
fn packets_of_all_sizes_go_both_ways() {
    for ring in [Ring::Split, Ring::Packed] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let mut back = back(&path);
        let (mut front, pool) = front(&FrontOptions { ring, ..FrontOptions::new(&path) });
        assert!(front.capabilities().mac != back.capabilities().mac);
        meet(&mut *front, &mut *back);
        let before = front.counters().tx_copies;
        for (number, len) in (0..600).zip([6, 1_460, 100, 9_000, 1, 60_000, 500].into_iter().cycle()) {
            let sent = packet(number, len);
            let (expected, offload) = (bytes(&sent), sent.offload);
            send(&mut *front, sent);
            let there = receive(&mut *back);
            assert!(bytes(&there) == expected && there.offload == offload, "packet {number} of {len} bytes");
            send(&mut *back, there);
            let here = receive(&mut *front);
            assert!(bytes(&here) == expected && here.offload == offload, "packet {number} of {len} bytes");
            // And once more, from the frames that it came in.
            send(&mut *front, here);
            assert!(bytes(&receive(&mut *back)) == expected, "packet {number} of {len} bytes");
        }
        assert_eq!(front.counters().tx_copies - before, 600, "what came is not copied when it is sent again");
        for counters in [front.counters(), back.counters()] {
            let lost = counters.rx_malformed + counters.rx_truncated + counters.tx_refused + counters.peer_errors;
            assert_eq!(lost, 0);
        }
        front.free_unused_memory();
        assert!(pool.counters().in_use_frames <= 257);
    }
}

/// Of which kinds the pages are in which files of this process's own lie, that are mapped and as long as what is shared.
fn page_kinds() -> Vec<String> {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut is_shared, mut kinds) = (false, Vec::new());
    for line in maps.lines() {
        let first = line.split(' ').next().unwrap_or_default();
        if let Some((from, to)) = first.split_once('-') {
            let [from, to] = [from, to].map(|address| usize::from_str_radix(address, 16).unwrap());
            is_shared = to - from == MEMORY_BYTES && line.contains("/memfd:sunstar");
        } else if let Some(kind) = line.strip_prefix("KernelPageSize:").filter(|_| is_shared) {
            kinds.push(kind.trim().to_owned());
        }
    }
    kinds
}

/// Sends packets of many sizes there and back, the last ones from the frames in which they came.
fn exchange(front: &mut dyn Queue, back: &mut dyn Queue) {
    meet(front, back);
    for (number, len) in (0..200).zip([6, 1_460, 9_000, 60_000].into_iter().cycle()) {
        let sent = packet(number, len);
        let expected = bytes(&sent);
        send(front, sent);
        let there = receive(back);
        assert!(bytes(&there) == expected, "packet {number} of {len} bytes");
        send(back, there);
        let here = receive(front);
        assert!(bytes(&here) == expected, "packet {number} of {len} bytes");
        send(front, here);
        assert!(bytes(&receive(back)) == expected, "packet {number} of {len} bytes");
    }
}

#[test]
fn memory_in_large_pages_is_shared_as_any_other() {
    let Some(pages) = LargePages::new() else { return };
    let memory = pages
        .make((MEMORY_BYTES >> 21) as u64, || SharedMemory::new(MEMORY_BYTES).ok().filter(|memory| memory.is_huge()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut back = back(&path);
    let (mut front, _pool) = front_with(&FrontOptions::new(&path), memory);
    exchange(&mut *front, &mut *back);
    // Each side has mapped it.
    assert!(page_kinds().iter().filter(|kind| *kind == "2048 kB").count() >= 2, "{:?}", page_kinds());
}

/// No machine has as many large pages: they are had for all of the memory, or not at all.
#[test]
fn memory_without_enough_large_pages_is_shared_in_ordinary_ones() {
    let memory = SharedMemory::new(1 << 40).unwrap();
    assert!(!memory.is_huge());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut back = back(&path);
    let (mut front, _pool) = front_with(&FrontOptions::new(&path), memory);
    exchange(&mut *front, &mut *back);
}

#[test]
fn long_packets_come_in_large_frames_on_either_side() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut back = back(&path);
    let memory = VhostUserFront::memory_bytes(1) + options().limit_frames * 2_400;
    let mut device = VhostUserFront::open(&FrontOptions::new(&path), SharedMemory::new(memory).unwrap()).unwrap();
    let queue = device.take_queue(0).unwrap();
    let pool = Rc::new(queue.pool(options()).unwrap());
    let mut front = queue.attach(pool).unwrap();
    meet(&mut *front, &mut *back);
    let mut buffers = (0, 0);
    for number in 0..60 {
        let sent = packet(number, 60_000);
        let expected = bytes(&sent);
        send(&mut *front, sent);
        let there = receive(&mut *back);
        buffers.0 = there.buffers().len();
        send(&mut *back, there);
        let here = receive(&mut *front);
        buffers.1 = here.buffers().len();
        assert!(bytes(&here) == expected, "packet {number}");
    }
    assert_eq!(buffers, (2, 2));
}

/// Whether all of a packet lies in this memory.
fn lies_in(memory: &SharedMemory, packet: &Packet) -> bool {
    packet.buffers().iter().all(|buffer| memory.offset_of(buffer.as_ptr(), buffer.len()).is_some())
}

/// Changes bytes of the memory by another mapping of its file: large pages can't be written otherwise.
fn overwrite(memory: &SharedMemory, place: usize, bytes: &[u8]) {
    assert!(place + bytes.len() <= memory.len());
    let (len, access) = (memory.len(), ProtFlags::READ | ProtFlags::WRITE);
    // SAFETY: the kernel chooses a place where nothing is mapped.
    let start = unsafe { mmap(std::ptr::null_mut(), len, access, MapFlags::SHARED, memory, 0) }.unwrap();
    for (at, byte) in bytes.iter().enumerate() {
        // SAFETY: it lies within the mapping, of which there is no reference.
        unsafe { start.cast::<u8>().add(place + at).write_volatile(*byte) };
    }
    // SAFETY: nobody else knows this mapping.
    unsafe { munmap(start, len) }.unwrap();
}

/// Not only by what both count: bytes that are changed in the memory after they were sent arrive changed, unless they were copied before.
#[test]
fn the_back_end_copies_what_is_sent_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut back = back(&path);
    let memory = SharedMemory::new(64 << 20).unwrap();
    let mut device = VhostUserFront::open(&FrontOptions::new(&path), Arc::clone(&memory)).unwrap();
    let queue = device.take_queue(0).unwrap();
    let sends = queue.send_memory().unwrap();
    let (headers, buffers) = (sends.headers().unwrap(), sends.buffers().unwrap());
    let pool = Rc::new(queue.pool(options()).unwrap());
    let mut front = queue.attach(pool).unwrap();
    meet(&mut *front, &mut *back);
    empty(&mut *front, &mut *back);
    for (number, (len, copied)) in [(1_400, 0), (300, 0), (100, 100)].into_iter().enumerate() {
        let mut expected = bytes(&packet(number, len));
        let (mut head, mut payload) = (headers.take().unwrap(), buffers.take(len).unwrap());
        head.extend_from_slice(&expected[..54]).unwrap();
        payload.extend_from_slice(&expected[54..]).unwrap();
        let place = memory.offset_of(payload.as_ptr(), len).unwrap();
        let mut sent = Packet::from(head.freeze());
        sent.push_back(payload.freeze()).unwrap();
        let before = (front.counters(), back.counters());
        send(&mut *front, sent);
        overwrite(&memory, place, b"changed");
        if copied == 0 {
            expected[54..61].copy_from_slice(b"changed");
        }
        let there = receive(&mut *back);
        assert!(bytes(&there) == expected, "{len} bytes lie where they were written until the back end takes them");
        assert!(there.buffers().iter().all(|buffer| memory.offset_of(buffer.as_ptr(), 0).is_none()));
        send(&mut *back, there);
        let here = receive(&mut *front);
        assert!(bytes(&here) == expected && lies_in(&memory, &here), "it is received where the back end has put it");
        let after = (front.counters(), back.counters());
        let whole = expected.len() as u64;
        assert_eq!(after.0.tx_copied_bytes - before.0.tx_copied_bytes, copied, "{len} bytes");
        assert_eq!(after.0.rx_copied_bytes, 0);
        assert_eq!(after.1.rx_copied_bytes - before.1.rx_copied_bytes, whole);
        assert_eq!(after.1.tx_copied_bytes - before.1.tx_copied_bytes, whole);
    }
}

/// Sends packets to another thread and gets them back, at most `most` of them under way at a time. Both threads sleep whenever they have
/// nothing to do.
fn echo(ring: Ring, most: usize) {
    const PACKETS: usize = 30_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (done, is_done) = std::sync::mpsc::channel();
    let there = path.clone();
    let echo = std::thread::spawn(move || {
        let mut back = back(&there);
        ready.send(()).unwrap();
        let (mut waiting, mut echoed) = (VecDeque::new(), 0);
        until("all are echoed", || {
            back.rx_burst(NOW, &mut waiting, 64).unwrap();
            let count = waiting.len();
            back.tx_burst(NOW, &mut waiting).unwrap();
            echoed += count - waiting.len();
            if count == 0 || !waiting.is_empty() {
                wait(&mut *back);
            }
            (echoed == PACKETS).then_some(())
        });
        is_done.recv().unwrap();
        back.counters()
    });
    is_ready.recv().unwrap();
    let (mut front, _pool) = front(&FrontOptions { ring, ..FrontOptions::new(&path) });
    let (mut sent, mut received) = (0, 0);
    let (mut waiting, mut arrived) = (VecDeque::new(), VecDeque::new());
    until("all come back", || {
        while sent < PACKETS && sent - received < 1 + sent % most {
            waiting.push_back(packet(sent, 6 + sent % 1_000));
            sent += 1;
        }
        front.tx_burst(NOW, &mut waiting).unwrap();
        front.rx_burst(NOW, &mut arrived, 64).unwrap();
        if arrived.is_empty() {
            wait(&mut *front);
        }
        for packet in arrived.drain(..) {
            assert!(bytes(&packet) == bytes(&self::packet(received, 6 + received % 1_000)), "packet {received}");
            received += 1;
        }
        (received == PACKETS).then_some(())
    });
    done.send(()).unwrap();
    for counters in [front.counters(), echo.join().unwrap()] {
        let lost = counters.tx_dropped + counters.tx_refused + counters.rx_malformed + counters.rx_truncated;
        assert_eq!((lost, counters.peer_errors, counters.reconnects), (0, 0, 0));
    }
}

#[test]
fn two_threads_that_sleep_lose_nothing() {
    [Ring::Split, Ring::Packed].into_iter().for_each(|ring| echo(ring, 200));
}

/// As with a thousand connections: more is under way than both rings hold, so that each side also sleeps until there is room.
#[test]
fn two_threads_that_sleep_lose_nothing_when_rings_are_full() {
    [Ring::Split, Ring::Packed].into_iter().for_each(|ring| echo(ring, 1_000));
}

/// Whether a shard with this queue would sleep now.
fn sleeps(queue: &mut dyn Queue) -> bool {
    let Readiness::Descriptor { fd, .. } = queue.poll_ready(&mut Context::from_waker(Waker::noop())) else {
        return false;
    };
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&at_once)) == Ok(0)
}

/// Sends a thousand packets at once to a side that takes a single one whenever the sender has gone to sleep.
fn flood(from: &mut dyn Queue, to: &mut dyn Queue) {
    let mut waiting: VecDeque<Packet> = (0..1_000).map(|number| packet(number, 6)).collect();
    let (mut arrived, mut sleeps_when_full) = (VecDeque::new(), 0);
    for number in 0..1_000 {
        until("the sender sleeps", || {
            assert_eq!(from.rx_burst(NOW, &mut arrived, 64).unwrap(), 0, "nothing comes back");
            from.tx_burst(NOW, &mut waiting).unwrap();
            sleeps(from).then_some(())
        });
        sleeps_when_full += usize::from(!waiting.is_empty());
        assert_eq!(to.rx_burst(NOW, &mut arrived, 1).unwrap(), 1, "packet {number} was sent before");
        assert!(waiting.is_empty() || !sleeps(from), "there is room for what waits behind packet {number}");
        assert!(bytes(&arrived.pop_front().unwrap()) == bytes(&packet(number, 6)), "packet {number}");
    }
    assert!(sleeps_when_full > 500, "the ring was full most of the time");
}

#[test]
fn a_sender_is_woken_by_each_place_in_a_full_ring() {
    for ring in [Ring::Split, Ring::Packed] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let mut back = back(&path);
        let (mut front, _pool) = front(&FrontOptions { ring, ..FrontOptions::new(&path) });
        meet(&mut *front, &mut *back);
        empty(&mut *front, &mut *back);
        flood(&mut *front, &mut *back);
        flood(&mut *back, &mut *front);
    }
}

#[test]
fn either_side_may_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut back = back(&path);
    let options = FrontOptions::new(&path);
    let (mut front, _) = front(&options);
    meet(&mut *front, &mut *back);
    drop(back);
    let mut back = self::back(&path);
    meet(&mut *front, &mut *back);
    assert_eq!(front.counters().reconnects, 1);
    drop(front);
    let (mut front, _) = self::front(&options);
    meet(&mut *front, &mut *back);
    let sent = packet(1, 700);
    let expected = bytes(&sent);
    send(&mut *front, sent);
    until("what was sent last arrives", || (bytes(&receive(&mut *back)) == expected).then_some(()));
    send(&mut *back, packet(2, 800));
    assert_eq!(bytes(&receive(&mut *front)), bytes(&packet(2, 800)));
}

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::task::Waker;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::rc::Rc;
use std::task::Context;
use sunstar_executor::Instant;
use sunstar_packet::{Buffer, Checksum, Packet, Pool, PoolOptions, Segmentation, SegmentationKind};
use sunstar_virtio::net::features;
use sunstar_wire::MacAddr;

use super::*;
use crate::queue::{AttachError, Counters, Readiness};
use crate::vhost_user::options::Rss;
use back::{ALL, Back};

mod answers;
mod back;
mod leaving;

const NOW: Instant = Instant::ORIGIN;

/// A place for a socket, and memory.
struct Scene {
    _folder: tempfile::TempDir,
    options: FrontOptions,
    memory: Arc<SharedMemory>,
    pool: Rc<Pool>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = FrontOptions::new(folder.path().join("socket"));
        let memory = SharedMemory::new(64 << 20).expect("there is memory");
        let pool = PoolOptions { frame_bytes: 2_048, headroom_bytes: 64, limit_frames: 2_000 };
        let pool = Rc::new(Pool::with_memory(memory.clone(), pool).expect("frames are small"));
        Self { _folder: folder, options, memory, pool }
    }

    fn path(&self) -> PathBuf {
        self.options.path.clone()
    }

    fn listen(&self) -> UnixListener {
        UnixListener::bind(&self.options.path).expect("the folder is new")
    }

    /// A front end and the back end that it has found.
    fn meet(&self, listener: &UnixListener, offered: u64) -> (VhostUserFront, Back) {
        let back = back::accept(listener, offered, self.options.queues, &self.memory);
        let front = VhostUserFront::open(&self.options, self.memory.clone()).expect("they agree");
        (front, back.join().expect("the thread ends").expect("they agree"))
    }

    fn queue(&self, front: &mut VhostUserFront, index: usize) -> Box<dyn Queue> {
        let queue = front.take_queue(index).expect("it is there");
        queue.attach(Rc::clone(&self.pool)).expect("the frames suit")
    }

    fn open_error(&self) -> String {
        VhostUserFront::open(&self.options, self.memory.clone()).expect_err("it can't be had").to_string()
    }
}

fn send(queue: &mut dyn Queue, packet: Packet) {
    let mut packets = VecDeque::from([packet]);
    queue.tx_burst(NOW, &mut packets).expect("the queue works");
    assert!(packets.is_empty());
}

fn receive(queue: &mut dyn Queue) -> Vec<Packet> {
    let mut packets = VecDeque::new();
    queue.rx_burst(NOW, &mut packets, 64).expect("the queue works");
    packets.into()
}

fn bytes(packet: &Packet) -> Vec<u8> {
    let mut bytes = vec![0; packet.len()];
    packet.copy_to_slice(0, &mut bytes).expect("it is that long");
    bytes
}

/// Waits until the queue wants to be called, as a shard does.
fn wait(queue: &mut dyn Queue) {
    if let Readiness::Descriptor { fd, readable: true, .. } = queue.poll_ready(&mut Context::from_waker(Waker::noop()))
    {
        let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
        let count = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&patience));
        assert_eq!(count, Ok(1), "nothing has happened for a minute");
    }
}

/// Tries again and again, for a minute at most.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("not within a minute: {what}");
}

/// Waits until a queue has found a back end again so often.
#[track_caller]
fn meet_again(queue: &mut dyn Queue, times: u64) {
    for _ in 0..1_000 {
        if queue.counters().reconnects >= times {
            return;
        }
        wait(queue);
        receive(queue);
    }
    panic!("it is woken all the time, and meets nobody");
}

fn is_idle(queue: &mut dyn Queue) -> bool {
    match queue.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Readiness::Descriptor { fd, .. } => {
            let mut all = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
            poll(&mut all, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(0)
        }
        _ => false,
    }
}

#[test]
fn packets_go_there_and_back_by_all_kinds_of_rings() {
    for (offered, kind) in [
        (ALL, Ring::Split),
        (ALL, Ring::Packed),
        (ALL & !(features::INDIRECT_DESC | features::EVENT_IDX | features::IN_ORDER), Ring::Split),
        (ALL & !(features::INDIRECT_DESC | features::EVENT_IDX | features::IN_ORDER), Ring::Packed),
        (features::VERSION_1, Ring::Packed),
    ] {
        let mut scene = Scene::new();
        scene.options.ring = kind;
        let listener = scene.listen();
        let (mut front, mut back) = scene.meet(&listener, offered);
        assert_eq!(
            back.features & features::RING_PACKED != 0,
            kind == Ring::Packed && offered & features::RING_PACKED != 0
        );
        let mut queue = scene.queue(&mut front, 0);
        for round in 0..1_000 {
            send(&mut *queue, Packet::from(Buffer::from(format!("packet {round} from the heap").into_bytes())));
            assert_eq!(back.echo(0), 1);
            let [packet] = &mut receive(&mut *queue)[..] else { panic!("one packet") };
            assert_eq!(bytes(packet), format!("packet {round} from the heap").into_bytes());
            assert!(scene.memory.offset_of(packet.buffers()[0].as_ptr(), packet.len()).is_some());
            // Again, now from where it lies.
            send(&mut *queue, std::mem::take(packet));
            assert_eq!(back.echo(0), 1);
            assert_eq!(receive(&mut *queue).len(), 1);
        }
        let counters = queue.counters();
        let expected = Counters { rx_packets: 2_000, tx_packets: 2_000, tx_copies: 1_000, ..counters };
        assert_eq!(counters, expected);
        assert_eq!((counters.rx_bytes, counters.tx_copied_bytes), (counters.tx_bytes, counters.tx_bytes / 2));
        assert!(scene.pool.counters().in_use_frames <= 257, "nothing is kept but what lies in the ring");
    }
}

#[test]
fn large_packets_keep_their_metadata() {
    let scene = Scene::new();
    let listener = scene.listen();
    let (mut front, mut back) = scene.meet(&listener, ALL);
    let all = Offloads { vlan: false, ..Offloads::ALL };
    let can = front.capabilities().clone();
    assert_eq!((can.tx, can.rx, can.mtu_bytes), (all, Offloads { uso: false, ..all }, 1_500));
    let mut queue = scene.queue(&mut front, 0);
    // A header of TCP over IPv4 over Ethernet, as far as anybody looks at it.
    let mut head = vec![0; 54];
    (head[12], head[14], head[46]) = (8, 0x45, 0x50);
    let mut packet = Packet::from(Buffer::from(head));
    packet.push_back(Buffer::from(vec![7; 60_000])).expect("there is room");
    packet.offload.checksum = Checksum::Partial { csum_start: 34, csum_offset: 16 };
    packet.offload.segmentation =
        Some(Segmentation { kind: SegmentationKind::Tcpv4, has_ecn: true, gso_size: 1_448, hdr_len: 54 });
    let (offload, expected) = (packet.offload, bytes(&packet));
    send(&mut *queue, packet);
    assert_eq!(back.echo(0), 1);
    let [packet] = &receive(&mut *queue)[..] else { panic!("one packet") };
    assert!(packet.buffers().len() > 25 && bytes(packet) == expected && packet.offload == offload);
}

#[test]
fn a_queue_is_short_of_large_frames_while_more_than_half_are_held() {
    let scene = Scene::new();
    let (mut front, mut back) = scene.meet(&scene.listen(), ALL);
    let mut queue = scene.queue(&mut front, 0);
    let mut held = Vec::new();
    while !queue.is_short_of_large_frames() {
        assert!(held.len() < 400, "so many are more than half");
        back.give(0, &[0; 20_000]);
        held.append(&mut receive(&mut *queue));
    }
    let buffers = held.iter().flat_map(Packet::buffers);
    let large = buffers.filter(|buffer| buffer.kept_bytes() > 20_000).count();
    assert_eq!(large, 257, "those that are in the ring are not held");
    held.pop();
    assert!(!queue.is_short_of_large_frames());
    // Without a session nothing comes.
    held.clear();
    drop(back);
    until("the queue learns that the back end has gone", || {
        receive(&mut *queue);
        !queue.is_short_of_large_frames()
    });
}

#[test]
fn what_the_back_end_does_not_offer_is_not_used() {
    let scene = Scene::new();
    let listener = scene.listen();
    let (front, back) = scene.meet(&listener, ALL & !(features::CSUM | features::MRG_RXBUF));
    let can = front.capabilities();
    assert_eq!((can.tx, can.rx), (Offloads::NONE, Offloads { checksum: true, ..Offloads::NONE }));
    let dropped = features::HOST_TSO4 | features::HOST_USO | features::GUEST_TSO6 | features::GUEST_ECN;
    assert_eq!(back.features & dropped, 0, "it can't be without what is missing");
    let mut scene = Scene::new();
    scene.options.offloads = Offloads::NONE;
    let (front, _) = scene.meet(&scene.listen(), ALL);
    assert_eq!((front.capabilities().tx, front.capabilities().rx), (Offloads::NONE, Offloads::NONE));
}

#[test]
fn several_pairs_of_queues_are_told_apart() {
    let mut scene = Scene::new();
    scene.options.queues = 3;
    let listener = scene.listen();
    let (mut front, mut back) = scene.meet(&listener, ALL);
    let mut queues: Vec<_> = (0..3).map(|index| scene.queue(&mut front, index)).collect();
    for (index, queue) in (0..).zip(&mut queues) {
        send(&mut **queue, Packet::from(Buffer::from(vec![index; 20])));
    }
    for (index, queue) in queues.iter_mut().enumerate() {
        assert_eq!(back.echo(index), 1);
        assert_eq!(receive(&mut **queue)[0].buffers()[0][0], u8::try_from(index).expect("few"));
    }
}

#[test]
fn a_queue_sleeps_until_there_is_something() {
    for ring in [Ring::Split, Ring::Packed] {
        let mut scene = Scene::new();
        scene.options.ring = ring;
        let listener = scene.listen();
        let (mut front, mut back) = scene.meet(&listener, ALL);
        let mut queue = scene.queue(&mut front, 0);
        let packet = [&[0; 12][..], b"wake up"].concat();
        for _ in 0..20 {
            assert!(receive(&mut *queue).is_empty());
            assert!(is_idle(&mut *queue));
            back.give(0, &packet);
            wait(&mut *queue);
            assert_eq!(receive(&mut *queue).len(), 1);
            // And nothing is told to who is awake.
            back.give(0, &packet);
            assert_eq!(receive(&mut *queue).len(), 1);
        }
        // A full ring is told about, too.
        for _ in 0..300 {
            let mut packets = VecDeque::from([Packet::from(Buffer::from_static(b"one of many"))]);
            queue.tx_burst(NOW, &mut packets).expect("the queue works");
        }
        assert!(is_idle(&mut *queue));
        assert!(back.take(0).len() >= 250);
        wait(&mut *queue);
        receive(&mut *queue);
        send(&mut *queue, Packet::from(Buffer::from_static(b"there is room")));
        assert!(is_idle(&mut *queue), "nobody waits for room any more");
    }
}

#[test]
fn a_back_end_that_comes_back_is_served_again() {
    let scene = Scene::new();
    let listener = scene.listen();
    let (mut front, mut back) = scene.meet(&listener, ALL);
    let mut queue = scene.queue(&mut front, 0);
    send(&mut *queue, Packet::from(Buffer::from_static(b"before")));
    assert_eq!(back.echo(0), 1);
    let kept = receive(&mut *queue);
    send(&mut *queue, Packet::from(Buffer::from_static(b"in flight")));
    drop(back);
    wait(&mut *queue);
    assert!(receive(&mut *queue).is_empty());
    // Without one, or with the next one already: what was in flight is lost.
    let back = back::accept(&listener, ALL, 1, &scene.memory);
    let mut back = back.join().expect("the thread ends").expect("they agree");
    meet_again(&mut *queue, 1);
    assert_eq!(bytes(&kept[0]), b"before", "what was received stays");
    send(&mut *queue, Packet::from(Buffer::from_static(b"after")));
    assert_eq!(back.take(0).last().map(|packet| packet[12..].to_vec()), Some(b"after".to_vec()));
    back.give(0, &[0; 100]);
    assert_eq!(receive(&mut *queue).len(), 1);
    assert_eq!(queue.counters().reconnects, 1);
    drop(kept);
    assert_eq!(scene.pool.counters().in_use_frames, 256, "the frames of the first ring came back");
}

#[test]
fn packets_are_dropped_and_counted_while_there_is_no_back_end() {
    let scene = Scene::new();
    let listener = scene.listen();
    let (mut front, back) = scene.meet(&listener, ALL);
    let mut queue = scene.queue(&mut front, 0);
    // Nobody listens, until the test ends.
    drop(listener);
    drop(back);
    until("the queue learns that the back end has gone", || {
        receive(&mut *queue);
        send(&mut *queue, Packet::from(Buffer::from_static(b"into nothing")));
        queue.counters().tx_dropped > 0
    });
    assert_eq!(scene.pool.counters().in_use_frames, 0, "there is no ring");
    assert!(receive(&mut *queue).is_empty() && is_idle(&mut *queue));
}

#[test]
fn one_that_comes_back_with_less_is_refused_and_one_with_more_gives_no_more() {
    let scene = Scene::new();
    let listener = scene.listen();
    let first = ALL & !features::GUEST_TSO4;
    let (mut front, back) = scene.meet(&listener, first);
    let mut queue = scene.queue(&mut front, 0);
    drop(back);
    let refused = back::accept(&listener, first & !features::HOST_TSO4, 1, &scene.memory).join();
    assert!(refused.expect("the thread ends").is_err(), "the stack makes large packets");
    let back = back::accept(&listener, ALL, 1, &scene.memory).join();
    let back = back.expect("the thread ends").expect("they agree");
    assert_eq!(back.features & features::GUEST_TSO4, 0, "the stack does not expect them");
    meet_again(&mut *queue, 1);
}

#[test]
fn a_ring_with_nonsense_ends_the_session() {
    let scene = Scene::new();
    let listener = scene.listen();
    let (mut front, back) = scene.meet(&listener, ALL);
    let mut queue = scene.queue(&mut front, 0);
    // More is said to be used than there is.
    back.rings[0].used.write(2, &9_999_u16.to_le_bytes());
    assert!(receive(&mut *queue).is_empty());
    let again = back::accept(&listener, ALL, 1, &scene.memory);
    let mut back = again.join().expect("the thread ends").expect("they agree");
    assert_eq!(queue.counters().peer_errors, 1);
    meet_again(&mut *queue, 1);
    back.give(0, &[0; 100]);
    assert_eq!(receive(&mut *queue).len(), 1);
}

#[test]
fn frames_that_a_back_end_has_are_nobody_elses() {
    let scene = Scene::new();
    let listener = scene.listen();
    let (mut front, back) = scene.meet(&listener, ALL);
    let mut queue = scene.queue(&mut front, 0);
    let in_use = || scene.pool.counters().in_use_frames;
    assert_eq!(in_use(), 256);
    back.rings[0].used.write(2, &9_999_u16.to_le_bytes());
    assert!(receive(&mut *queue).is_empty());
    assert_eq!((queue.counters().peer_errors, in_use()), (1, 256), "the session may last still");
    let again = back::accept(&listener, ALL, 1, &scene.memory);
    let _again = again.join().expect("the thread ends").expect("they agree");
    meet_again(&mut *queue, 1);
    assert_eq!(in_use(), 256, "those of the first ring came back");
}

#[test]
fn a_device_ends_though_a_back_end_does_not_answer() {
    let scene = Scene::new();
    let listener = scene.listen();
    let (front, back) = scene.meet(&listener, ALL);
    drop(back);
    let (met, meets) = std::sync::mpsc::channel();
    let silent = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the front end comes again");
        // Half of what the front end has.
        stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).expect("it is no zero");
        stream.read_exact(&mut [0; 12]).expect("it begins to agree");
        met.send(()).expect("somebody waits");
        std::io::copy(&mut stream, &mut std::io::sink()).is_ok()
    });
    meets.recv().expect("the thread goes on");
    drop(front);
    assert!(silent.join().expect("the thread ends"), "nobody loses patience");
}

#[test]
fn a_queue_with_fewer_frames_than_a_packet_needs_looks_for_more_and_sleeps_meanwhile() {
    let mut scene = Scene::new();
    let few = PoolOptions { frame_bytes: 2_048, headroom_bytes: 64, limit_frames: 20 };
    scene.pool = Rc::new(Pool::with_memory(scene.memory.clone(), few).expect("frames are small"));
    let listener = scene.listen();
    let (mut front, mut back) = scene.meet(&listener, ALL);
    // There is room for none that are large.
    drop(scene.pool.take());
    let pieces = [1 << 20, 64 << 10, 4 << 10].into_iter();
    let _rest: Vec<_> =
        pieces.flat_map(|bytes| std::iter::from_fn(|| scene.memory.area(bytes)).collect::<Vec<_>>()).collect();
    let mut queue = scene.queue(&mut front, 0);
    for _ in 0..3 {
        assert!(receive(&mut *queue).is_empty());
        assert!(queue.deadline().is_some(), "a packet of 64 KiB can't come");
        assert!(is_idle(&mut *queue));
        back.give(0, &[0; 100]);
        wait(&mut *queue);
        assert_eq!(receive(&mut *queue).len(), 1, "a short one can");
    }
}

#[test]
fn a_back_end_may_connect_to_a_socket_that_goes_away_in_the_end() {
    let mut scene = Scene::new();
    scene.options.is_server = true;
    // Something was left over.
    drop(UnixListener::bind(scene.path()).expect("the folder is new"));
    let back = back::connect(&scene.path(), ALL, 1, &scene.memory);
    let mut front = VhostUserFront::open(&scene.options, scene.memory.clone()).expect("they agree");
    let back = back.join().expect("the thread ends").expect("they agree");
    let mut queue = scene.queue(&mut front, 0);
    assert!(scene.open_error().contains("is in use: another process listens there"), "there is one already");
    drop(back);
    let back = back::connect(&scene.path(), ALL, 1, &scene.memory);
    let _back = back.join().expect("the thread ends").expect("they agree");
    meet_again(&mut *queue, 1);
    drop((queue, front));
    assert!(!scene.path().exists());
}

#[test]
fn what_is_missing_is_told() {
    let scene = Scene::new();
    assert!(scene.open_error().contains("there is no socket"));
    let listener = scene.listen();
    let back = back::accept(&listener, ALL & !features::VERSION_1, 1, &scene.memory);
    assert!(scene.open_error().ends_with("it lacks VIRTIO_F_VERSION_1, which is needed"));
    assert!(back.join().expect("the thread ends").is_err());
    let back = std::thread::spawn(move || drop(listener.accept().expect("it connects")));
    assert!(scene.open_error().contains("closed the connection"));
    back.join().expect("the thread ends");
    let listener = {
        std::fs::remove_file(scene.path()).expect("it is there");
        scene.listen()
    };
    let stranger = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("it connects");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("it is there");
        // It is read before the end is seen.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    assert!(scene.open_error().contains("what it says is not of the vhost-user protocol: "));
    stranger.join().expect("the thread ends");
    assert!(scene.open_error().contains("it is left over from a process that has ended"));
    std::fs::remove_file(scene.path()).expect("it is there");
    std::fs::write(scene.path(), "a file").expect("the folder is there");
    assert!(scene.open_error().ends_with("or is no socket"));
    let mut scene = Scene::new();
    scene.options.queues = 3;
    let listener = scene.listen();
    let back = back::accept(&listener, ALL, 2, &scene.memory);
    assert!(scene.open_error().ends_with("it has 2 pairs of queues, fewer than the 3 that are wanted"));
    drop(back);
}

#[test]
fn frames_that_do_not_suit_are_refused() {
    let scene = Scene::new();
    let listener = scene.listen();
    let options = PoolOptions { frame_bytes: 1_000, headroom_bytes: 64, limit_frames: 300 };
    let heap = Rc::new(Pool::new(options).expect("frames are small"));
    let (mut front, _back) = scene.meet(&listener, ALL);
    let error = front.take_queue(0).expect("it is there").attach(heap).err();
    assert_eq!(error, Some(AttachError::OtherMemory));
    // Large packets need more of them than a packet may have; and so does any packet if it must lie in one.
    for offered in [ALL, ALL & !features::MRG_RXBUF] {
        let (mut front, _back) = scene.meet(&listener, offered);
        let queue = front.take_queue(0).expect("it is there");
        let small = Rc::new(queue.pool(options).expect("frames are small"));
        let error = queue.attach(small).err();
        assert!(matches!(error, Some(AttachError::FramesTooSmall { frame_bytes: 1_000, .. })));
    }
}

#[test]
fn options_are_read_and_checked() {
    let read = |text: &str| text.parse::<FrontOptions>().map_err(|error| error.to_string());
    assert_eq!(read("/run/switch"), Ok(FrontOptions::new("/run/switch")));
    let all = read("a/b,server,queues=4,mtu=9000,mac=02:00:00:00:00:Ff,offload=off,rss=secret,ring=packed")
        .expect("all of them");
    assert_eq!(
        all,
        FrontOptions {
            path: "a/b".into(),
            is_server: true,
            queues: 4,
            mtu_bytes: 9_000,
            mac: Some(MacAddr([2, 0, 0, 0, 0, 255])),
            offloads: Offloads::NONE,
            rss: Rss::Secret,
            ring: Ring::Packed,
        }
    );
    for (text, error) in [
        ("", "needs the path of a socket"),
        (&"x".repeat(108), "it may have 107 bytes"),
        ("p,queues=0", "0 queues: a vhost-user device has 1 to 128"),
        ("p,queues=129", "129 queues"),
        ("p,mtu=67", "an MTU of 67 bytes"),
        ("p,client", "\"client\" is no option of a vhost-user device: there are server,"),
        ("p,server=1", "\"server=1\" is no option"),
        ("p,mac=01:00:00:00:00:00", "is no option"),
        ("p,mac=02:00:00:00:00", "is no option"),
        ("p,ring=round", "is no option"),
        ("p,rss=on", "rss=symmetric|secret and ring=split|packed"),
    ] {
        let told = read(text).expect_err(text);
        assert!(told.contains(error), "{text}: {told}");
    }
    let [one, other] = ["/run/a", "/run/b"].map(|path| FrontOptions::new(path).mac());
    assert!(one != other && one.0[0] == 2 && one == FrontOptions::new("/run/a").mac());
}

//! What goes wrong between a front end and a back end: it is told, counted, and passes when its reason does.

use std::collections::VecDeque;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::thread;

use sunstar_device::{
    BackOptions, Device, FrontError, FrontOptions, Queue, SharedMemory, SocketError, VhostUserBack, VhostUserFront,
};
use sunstar_packet::{Buffer, Packet, PoolOptions};
use tempfile::TempDir;

use crate::support::{NOW, PATIENCE, bytes, empty, frame, send, until, wait};

const FRAMES: PoolOptions = PoolOptions { frame_bytes: 2_048, headroom_bytes: 64, limit_frames: 2_000 };

fn scene() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    (folder, path)
}

/// Options of a back end that listens.
fn listening(path: &Path) -> BackOptions {
    BackOptions { is_server: true, ..BackOptions::new(path) }
}

fn open(options: &FrontOptions) -> Result<VhostUserFront, FrontError> {
    VhostUserFront::open(options, SharedMemory::new(16 << 20).unwrap())
}

fn attach(device: &mut dyn Device) -> Vec<Box<dyn Queue>> {
    let queues = 0..device.capabilities().queues;
    let attached = queues.map(|index| {
        let queue = device.take_queue(index).unwrap();
        let pool = Rc::new(queue.pool(FRAMES).unwrap());
        queue.attach(pool).unwrap()
    });
    attached.collect()
}

fn back(options: &BackOptions) -> Vec<Box<dyn Queue>> {
    attach(&mut VhostUserBack::open(options).unwrap())
}

fn front(options: &FrontOptions) -> Vec<Box<dyn Queue>> {
    attach(&mut open(options).unwrap())
}

/// Sends a frame until it arrives: while rings are set up it may be lost.
fn pass(from: &mut dyn Queue, to: &mut dyn Queue) {
    let sent = frame(7, 200);
    until("a frame arrives", || {
        send(from, Packet::from(Buffer::copy_from_slice(&sent)));
        let mut arrived = VecDeque::new();
        to.rx_burst(NOW, &mut arrived, 32).unwrap();
        from.rx_burst(NOW, &mut VecDeque::new(), 32).unwrap();
        thread::yield_now();
        arrived.iter().any(|packet| bytes(packet) == sent).then_some(())
    });
}

/// Frames go both ways.
fn exchange(front: &mut dyn Queue, back: &mut dyn Queue) {
    pass(front, back);
    pass(back, front);
}

/// Waits until a front end has found its back end again so often.
fn meet_again(front: &mut dyn Queue, times: u64) {
    until("the front end meets its back end again", || {
        if front.counters().reconnects >= times {
            return Some(());
        }
        wait(front);
        front.rx_burst(NOW, &mut VecDeque::new(), 32).unwrap();
        None
    });
}

#[test]
fn two_sides_with_different_mtus_do_not_come_together() {
    let (_folder, path) = scene();
    let mut back = back(&listening(&path));
    let wrong = FrontOptions { mtu_bytes: 9_000, ..FrontOptions::new(&path) };
    let error = open(&wrong).unwrap_err().to_string();
    assert_eq!(error, format!("the back end at {path:?}: it refuses an MTU of 9000 bytes: both sides need the same"));
    assert_eq!(back[0].counters().peer_errors, 1);
    let mut front = front(&FrontOptions::new(&path));
    exchange(&mut *front[0], &mut *back[0]);
    assert_eq!((front[0].counters().peer_errors, back[0].counters().peer_errors), (0, 1));
}

#[test]
fn a_back_end_that_comes_back_with_another_mtu_is_counted_and_the_right_one_served() {
    let (_folder, path) = scene();
    let first = back(&listening(&path));
    let mut front = front(&FrontOptions::new(&path));
    drop(first);
    let wrong = back(&BackOptions { mtu_bytes: 9_000, ..listening(&path) });
    until("the front end counts what it refuses", || {
        thread::yield_now();
        (front[0].counters().peer_errors > 0).then_some(())
    });
    assert!(wrong[0].counters().peer_errors > 0);
    drop(wrong);
    let mut right = back(&listening(&path));
    meet_again(&mut *front[0], 1);
    exchange(&mut *front[0], &mut *right[0]);
}

#[test]
fn a_back_end_with_fewer_queues_is_refused_and_one_with_more_is_not() {
    let (_folder, path) = scene();
    let mut back = back(&BackOptions { queues: 2, ..listening(&path) });
    let wanted = |queues| FrontOptions { queues, ..FrontOptions::new(&path) };
    let error = open(&wanted(3)).unwrap_err().to_string();
    assert!(error.ends_with("it has 2 pairs of queues, fewer than the 3 that are wanted"), "{error}");
    let mut front = front(&wanted(1));
    exchange(&mut *front[0], &mut *back[0]);
    send(&mut *back[1], Packet::from(Buffer::from(frame(1, 60))));
    assert_eq!(back[1].counters().tx_dropped, 1, "the driver has no such queue");
    exchange(&mut *front[0], &mut *back[0]);
}

#[test]
fn a_peer_that_has_gone_stops_no_other_device() {
    let [(_first, one), (_second, other)] = [scene(), scene()];
    let (mut lost, mut kept) = (back(&listening(&one)), back(&listening(&other)));
    let mut losing = front(&FrontOptions::new(&one));
    let mut keeping = front(&FrontOptions::new(&other));
    for round in 0..3 {
        exchange(&mut *losing[0], &mut *lost[0]);
        // First the back end goes, then the front end.
        drop(lost);
        exchange(&mut *keeping[0], &mut *kept[0]);
        lost = back(&listening(&one));
        meet_again(&mut *losing[0], 1);
        exchange(&mut *losing[0], &mut *lost[0]);
        drop(losing);
        exchange(&mut *keeping[0], &mut *kept[0]);
        losing = front(&FrontOptions::new(&one));
        assert_eq!(kept[0].counters().reconnects + keeping[0].counters().reconnects, 0, "round {round}");
    }
}

/// A thousand frames, of which the other side holds all.
fn hold_a_thousand(from: &mut dyn Queue, to: &mut dyn Queue) -> VecDeque<Packet> {
    let mut waiting: VecDeque<_> = (0..1_000).map(|number| Packet::from(Buffer::from(frame(number, 200)))).collect();
    let mut arrived = VecDeque::new();
    from.tx_burst(NOW, &mut waiting).unwrap();
    assert!(!waiting.is_empty() && from.counters().tx_full > 0, "more than the ring holds is held back");
    until("nothing goes on any more", || {
        let before = arrived.len();
        to.rx_burst(NOW, &mut arrived, 64).unwrap();
        from.tx_burst(NOW, &mut waiting).unwrap();
        (arrived.len() == before).then_some(())
    });
    if !waiting.is_empty() {
        assert!(to.counters().rx_no_frames > 0, "{:?}", to.counters());
        assert!(to.deadline().is_some(), "nobody tells when there are frames");
        assert!(arrived.len() > 300 + 500, "those for long packets are used, too: {}", arrived.len());
        let numbers = 0..arrived.len();
        assert!(arrived.drain(..).zip(numbers).all(|(packet, number)| bytes(&packet) == frame(number, 200)));
        until("it goes on", || {
            to.rx_burst(NOW, &mut arrived, 64).unwrap();
            from.tx_burst(NOW, &mut waiting).unwrap();
            arrived.iter().any(|packet| bytes(packet) == frame(999, 200)).then_some(())
        });
    }
    arrived
}

#[test]
fn rings_that_are_full_hold_back_and_sides_without_frames_wait_and_nothing_is_lost() {
    for limit_frames in [300, 2_000] {
        let (_folder, path) = scene();
        let attach = |device: &mut dyn Device| {
            let queue = device.take_queue(0).unwrap();
            let pool = Rc::new(queue.pool(PoolOptions { limit_frames, ..FRAMES }).unwrap());
            queue.attach(pool).unwrap()
        };
        let mut back = attach(&mut VhostUserBack::open(&listening(&path)).unwrap());
        let memory = SharedMemory::new(64 << 20).unwrap();
        let mut front = attach(&mut VhostUserFront::open(&FrontOptions::new(&path), memory).unwrap());
        exchange(&mut *front, &mut *back);
        empty(&mut *front, &mut *back);
        let held = [hold_a_thousand(&mut *front, &mut *back), hold_a_thousand(&mut *back, &mut *front)];
        let expected = if limit_frames == 300 { 1..1_000 } else { 1_000..1_001 };
        assert!(held.iter().all(|held| expected.contains(&held.len())), "{:?}", held.each_ref().map(VecDeque::len));
        drop(held);
        exchange(&mut *front, &mut *back);
    }
}

#[test]
fn what_a_dead_process_has_left_is_in_nobodys_way_that_listens() {
    let (_folder, path) = scene();
    drop(UnixListener::bind(&path).unwrap());
    let error = open(&FrontOptions::new(&path)).unwrap_err().to_string();
    assert!(error.contains("it is left over from a process that has ended"), "{error}");
    // Who looks for a front end waits until somebody listens again.
    let mut looking = back(&BackOptions::new(&path));
    let mut front = front(&FrontOptions { is_server: true, ..FrontOptions::new(&path) });
    exchange(&mut *front[0], &mut *looking[0]);
    drop((looking, front));
    drop(UnixListener::bind(&path).unwrap());
    let mut back = back(&listening(&path));
    let mut front = self::front(&FrontOptions::new(&path));
    exchange(&mut *front[0], &mut *back[0]);
}

#[test]
fn a_path_that_no_socket_can_have_is_refused() {
    let (folder, _) = scene();
    let long = folder.path().join("x".repeat(108));
    let expected = format!("{long:?} is no path of a socket: it may have 107 bytes");
    for is_server in [false, true] {
        assert_eq!(open(&FrontOptions { is_server, ..FrontOptions::new(&long) }).unwrap_err().to_string(), expected);
        let options = BackOptions { is_server, ..BackOptions::new(&long) };
        assert_eq!(VhostUserBack::open(&options).unwrap_err().to_string(), expected);
    }
}

/// Runs on a thread without rights, and its threads.
fn as_nobody<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: the call itself changes this thread's user only, unlike the function of the C library; no memory is involved.
            // Whoever has no rights to change it has too few for what is to be refused.
            let _ = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
            run()
        });
        thread.join().unwrap()
    })
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn who_may_not_use_the_socket_is_told() {
    let (folder, path) = scene();
    allow(folder.path(), 0o555);
    let expected = format!("no permission to use the socket {path:?}: ");
    for is_server in [false, true] {
        if !is_server {
            allow(folder.path(), 0o755);
            drop(UnixListener::bind(&path).unwrap());
            allow(&path, 0o444);
            allow(folder.path(), 0o555);
        }
        let error = as_nobody(|| open(&FrontOptions { is_server, ..FrontOptions::new(&path) }).unwrap_err());
        assert!(matches!(error, FrontError::Socket(SocketError::Permission { .. })), "{error:?}");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
    let error = as_nobody(|| VhostUserBack::open(&listening(&path)).unwrap_err().to_string());
    assert!(error.starts_with(&expected), "{error}");
    allow(folder.path(), 0o755);
}

#[test]
fn a_back_end_that_may_not_use_the_socket_connects_when_it_may() {
    let (folder, path) = scene();
    allow(folder.path(), 0o755);
    let options = FrontOptions { is_server: true, ..FrontOptions::new(&path) };
    let (opened, is_open) = channel();
    thread::spawn(move || drop(opened.send(open(&options).unwrap())));
    until("the front end makes its socket", || {
        thread::yield_now();
        path.exists().then_some(())
    });
    allow(&path, 0o444);
    let mut back = as_nobody(|| VhostUserBack::open(&BackOptions::new(&path)).unwrap());
    assert!(is_open.try_recv().is_err(), "it can't connect");
    allow(&path, 0o777);
    let mut front = is_open.recv_timeout(PATIENCE).expect("the back end connects");
    exchange(&mut *attach(&mut front)[0], &mut *attach(&mut back)[0]);
}

#[test]
fn a_front_end_that_may_not_use_the_socket_any_more_comes_back_when_it_may() {
    let (folder, path) = scene();
    allow(folder.path(), 0o755);
    let first = back(&listening(&path));
    allow(&path, 0o777);
    let mut device = as_nobody(|| open(&FrontOptions::new(&path)).unwrap());
    let mut front = attach(&mut device);
    drop(first);
    let second = back(&listening(&path));
    allow(&path, 0o444);
    drop(second);
    let mut third = back(&listening(&path));
    allow(&path, 0o777);
    meet_again(&mut *front[0], 1);
    exchange(&mut *front[0], &mut *third[0]);
}

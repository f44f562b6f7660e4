//! Queues that go, and what becomes of their frames and rings.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;

use sunstar_packet::{Buffer, BufferMut, Packet, PoolOptions};
use sunstar_virtio::net::features;

use super::back::{self, ALL, Back};
use super::{Scene, meet_again, receive, send, until};
use crate::queue::{Device, Queue};
use crate::shared_memory::SharedMemory;
use crate::vhost_user::channel::Channel;
use crate::vhost_user::front::VhostUserFront;
use crate::vhost_user::front::link::Slot;
use crate::vhost_user::front::session::{Pair, Session, Wanted};
use crate::vhost_user::message::{Reply, Request, RingState, protocol_features};
use crate::vhost_user::options::MAX_VHOST_USER_QUEUES;

#[test]
fn who_goes_lets_go_only_of_frames_whose_ring_has_ended() {
    let disabled = |index| Request::SetVringEnable(RingState { index, value: 0 });
    let stopped = |index| Request::GetVringBase { index };
    for offered in [ALL, ALL & !features::VHOST_USER_PROTOCOL] {
        let mut scene = Scene::new();
        scene.options.queues = if offered == ALL { 2 } else { 1 };
        let (mut front, mut back) = scene.meet(&scene.listen(), offered);
        let queue = scene.queue(&mut front, scene.options.queues - 1);
        assert_eq!(scene.pool.counters().in_use_frames, 256);
        drop(queue);
        if offered == ALL {
            assert_eq!(back.session.asked(), [disabled(2), disabled(3), Request::GetFeatures]);
            assert_eq!(scene.pool.counters().in_use_frames, 256, "somebody may still be copying");
            let mut other = scene.queue(&mut front, 0);
            send(&mut *other, Packet::from(Buffer::from_static(b"goes on")));
            assert_eq!(back.echo(0), 1);
            assert_eq!(receive(&mut *other).len(), 1);
            drop(front);
            assert_eq!((scene.pool.counters().in_use_frames, back.session.asked()), (512, vec![]));
            // Whoever is last ends the session.
            drop(other);
            assert_eq!(back.session.asked(), [0, 1, 2, 3].map(stopped));
            assert_eq!(scene.pool.counters().in_use_frames, 256);
        } else {
            assert_eq!(back.session.asked(), [stopped(0), stopped(1)], "there is no other way");
            assert_eq!(scene.pool.counters().in_use_frames, 0);
        }
    }
}

#[test]
fn what_a_back_end_still_copies_into_a_disabled_ring_comes_to_nobodys_frames() {
    let mut scene = Scene::new();
    scene.options.queues = 2;
    let (mut front, mut back) = scene.meet(&scene.listen(), ALL);
    let [_kept, queue] = [0, 1].map(|index| scene.queue(&mut front, index));
    drop(queue);
    let fill = |mut frame: BufferMut| {
        frame.extend_from_slice(&[1; 2_000]).expect("frames are larger");
        frame.freeze()
    };
    let frames: Vec<Buffer> = std::iter::from_fn(|| scene.pool.take()).map(fill).collect();
    assert_eq!(frames.len(), 2_000 - 512);
    (0..256).for_each(|_| back.give(1, &[9; 1_000]));
    assert!(frames.iter().all(|frame| frame[..] == [1; 2_000]));
}

#[test]
fn a_queue_that_has_gone_is_not_enabled_again() {
    let mut scene = Scene::new();
    scene.options.queues = 2;
    let listener = scene.listen();
    let (mut front, mut back) = scene.meet(&listener, ALL);
    let [mut kept, one] = [0, 1].map(|index| scene.queue(&mut front, index));
    drop(one);
    for round in 1..=2 {
        drop(back);
        let again = back::accept_until(&listener, ALL, 2, 2, &scene.memory);
        back = again.join().expect("the thread ends").expect("they agree");
        meet_again(&mut *kept, round);
        back.give(0, &[0; 100]);
        assert_eq!(receive(&mut *kept).len(), 1);
        assert_eq!(back.session.asked(), [], "the others stay as they are");
    }
}

#[test]
fn a_queue_that_goes_while_there_is_no_back_end_is_not_enabled_by_the_next_one() {
    let mut scene = Scene::new();
    scene.options.queues = 2;
    let listener = scene.listen();
    let (mut front, back) = scene.meet(&listener, ALL);
    let [mut kept, mut one] = [0, 1].map(|index| scene.queue(&mut front, index));
    drop(back);
    until("the queue learns that the back end has gone", || {
        receive(&mut *one);
        send(&mut *one, Packet::from(Buffer::from_static(b"into nothing")));
        one.counters().tx_dropped > 0
    });
    drop(one);
    let back = back::accept_until(&listener, ALL, 2, 2, &scene.memory);
    let back = back.join().expect("the thread ends").expect("they agree");
    meet_again(&mut *kept, 1);
    drop(front);
    drop(kept);
    assert_eq!(back.session.asked(), [0, 1, 2, 3].map(|index| Request::GetVringBase { index }));
}

#[test]
fn frames_of_a_back_end_that_does_not_say_that_it_stops_are_never_used_again() {
    let mut scene = Scene::new();
    scene.options.queues = 2;
    let (mut front, back) = scene.meet(&scene.listen(), ALL);
    let [one, mut other] = [0, 1].map(|index| scene.queue(&mut front, index));
    assert_eq!(scene.pool.counters().in_use_frames, 512);
    back.session.fall_silent();
    drop(one);
    // The session ends with that, for all.
    assert!(receive(&mut *other).is_empty());
    assert_eq!(scene.pool.counters().in_use_frames, 512);
    drop((other, front));
    assert_eq!(scene.pool.counters().in_use_frames, 512);
}

#[test]
fn who_is_last_waits_for_the_back_end_too() {
    let scene = Scene::new();
    let (mut front, back) = scene.meet(&scene.listen(), ALL);
    let queue = scene.queue(&mut front, 0);
    back.session.fall_silent();
    drop((front, queue));
    assert_eq!(scene.pool.counters().in_use_frames, 256);
}

#[test]
fn a_back_end_that_says_what_nobody_asked_for_stops_before_it_is_left() {
    let scene = Scene::new();
    let (mut front, mut back) = scene.meet(&scene.listen(), ALL);
    let mut queue = scene.queue(&mut front, 0);
    back.session.say(&[0xff; 12]);
    until("the back end is asked to stop", || !back.session.asked().is_empty());
    drop(front);
    assert!(receive(&mut *queue).is_empty());
    drop(queue);
    assert_eq!(scene.pool.counters().in_use_frames, 256, "what it answers is not understood");
}

#[test]
fn a_device_has_as_many_pairs_as_rings_have_numbers() {
    let mut scene = Scene::new();
    scene.options.queues = MAX_VHOST_USER_QUEUES;
    let (mut front, back) = scene.meet(&scene.listen(), ALL);
    let queue = scene.queue(&mut front, MAX_VHOST_USER_QUEUES - 1);
    drop(queue);
    let disabled = |index| Request::SetVringEnable(RingState { index, value: 0 });
    assert_eq!(back.session.asked(), [disabled(254), disabled(255), Request::GetFeatures]);
    drop(front);
    assert_eq!(back.session.asked().len(), 2 * MAX_VHOST_USER_QUEUES);
}

#[test]
fn a_back_end_with_a_broken_ring_stops_before_it_is_left() {
    let scene = Scene::new();
    let listener = scene.listen();
    let (mut front, back) = scene.meet(&listener, ALL);
    let mut queue = scene.queue(&mut front, 0);
    back.rings[0].used.write(2, &9_999_u16.to_le_bytes());
    assert!(receive(&mut *queue).is_empty());
    // It waits until the session has ended.
    drop(queue);
    assert_eq!(scene.pool.counters().in_use_frames, 0);
    assert_eq!(back.session.asked(), [0, 1].map(|index| Request::GetVringBase { index }));
}

fn disabled(pair: u32) -> Vec<Request> {
    let disabled = |index| Request::SetVringEnable(RingState { index, value: 0 });
    vec![disabled(2 * pair), disabled(2 * pair + 1), Request::GetFeatures]
}

#[test]
fn a_pair_whose_queue_is_never_attached_is_not_used() {
    let mut scene = Scene::new();
    scene.options.queues = 4;
    let (mut front, back) = scene.meet(&scene.listen(), ALL);
    let mut kept = scene.queue(&mut front, 0);
    let [dropped, fails] = [1, 2].map(|index| front.take_queue(index).expect("nobody has it"));
    drop(dropped);
    let asked = |expected: Vec<Request>| {
        let mut asked = Vec::new();
        until("the back end is told", || {
            asked.append(&mut back.session.asked());
            asked.len() >= expected.len()
        });
        assert_eq!(asked, expected);
    };
    asked(disabled(1));
    // These are not where the back end could see them.
    let elsewhere = PoolOptions { frame_bytes: 2_048, headroom_bytes: 64, limit_frames: 2_000 };
    let elsewhere = sunstar_packet::Pool::new(elsewhere).expect("frames are small");
    assert!(fails.attach(Rc::new(elsewhere)).is_err());
    asked(disabled(2));
    // Of the fourth one nobody has ever asked for.
    drop(front);
    asked(disabled(3));
    assert!(receive(&mut *kept).is_empty());
}

/// Whether a file in memory is mapped by this process, by its number.
fn is_mapped(inode: u64) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("it is there");
    maps.lines().any(|line| line.split_whitespace().nth(4) == Some(&inode.to_string()))
}

/// A queue with a pool of its own, of which packets are held, sent and received.
fn busy_queue(front: &mut VhostUserFront, back: &mut Back, index: usize) -> Box<dyn Queue> {
    let queue = front.take_queue(index).expect("nobody has it");
    let options = PoolOptions { frame_bytes: 2_048, headroom_bytes: 64, limit_frames: 2_000 };
    let pool = queue.pool(options).expect("frames are small");
    let mut queue = queue.attach(Rc::new(pool)).expect("the frames suit");
    // Queues get the rings of a new session one after the other.
    until("it has rings", || {
        send(&mut *queue, Packet::from(Buffer::from_static(b"comes back")));
        back.echo(index) == 1
    });
    assert_eq!(receive(&mut *queue).len(), 1);
    send(&mut *queue, Packet::from(Buffer::from_static(b"is held")));
    queue
}

#[test]
fn memory_of_queues_that_go_one_by_one_is_free_when_the_session_has_ended() {
    for is_silent in [false, true] {
        let mut scene = Scene::new();
        scene.options.queues = 3;
        let listener = scene.listen();
        let inode = rustix::fs::fstat(&scene.memory).expect("it is a file").st_ino;
        let (mut front, mut back) = scene.meet(&listener, ALL);
        let level = scene.memory.used_bytes();
        let queues = [0, 1, 2].map(|index| busy_queue(&mut front, &mut back, index));
        let most = scene.memory.used_bytes();
        let [first, second, last] = queues;
        drop((first, second));
        assert!(scene.memory.used_bytes() > (level + most) / 2, "the back end may be working on it");
        if is_silent {
            back.session.fall_silent();
        }
        drop((front, last));
        let left = scene.memory.used_bytes();
        assert_eq!(left > 0, is_silent, "{left}");
        // Whatever a back end still does to it does no harm to who has nothing there any more.
        assert!(is_mapped(inode));
        let memory: Arc<SharedMemory> = Arc::clone(&scene.memory);
        drop((scene, back));
        assert_eq!((Arc::strong_count(&memory), is_mapped(inode)), (1, true));
        drop(memory);
        assert!(!is_mapped(inode));
    }
}

#[test]
fn memory_of_queues_that_have_gone_is_free_when_the_next_back_end_comes() {
    let mut scene = Scene::new();
    scene.options.queues = 3;
    let listener = scene.listen();
    let (mut front, mut back) = scene.meet(&listener, ALL);
    let mut kept = busy_queue(&mut front, &mut back, 0);
    let mut level = None;
    // Of each back end the first pairs are the same.
    for round in 1..=2 {
        let index = usize::try_from(round).expect("it is small");
        drop(busy_queue(&mut front, &mut back, index));
        let withheld = scene.memory.used_bytes();
        drop(back);
        let again = back::accept_until(&listener, ALL, 3, 6 - 2 * index, &scene.memory);
        back = again.join().expect("the thread ends").expect("they agree");
        meet_again(&mut *kept, round);
        let used = scene.memory.used_bytes();
        assert!(used + (1 << 20) <= withheld, "{used} of {withheld}");
        assert_eq!(used, *level.get_or_insert(used), "nothing is left of those that have gone");
    }
}

#[test]
fn large_frames_that_are_never_used_again_are_not_held() {
    let scene = Scene::new();
    let listener = scene.listen();
    let (mut front, mut back) = scene.meet(&listener, ALL);
    let mut queue = scene.queue(&mut front, 0);
    for round in 1..=3 {
        for _ in 0..400 {
            back.give(0, &[0; 20_000]);
            assert_eq!(receive(&mut *queue).len(), 1);
        }
        back.give(0, &[0; 20_000]);
        let held = receive(&mut *queue);
        assert!(!queue.is_short_of_large_frames(), "{} packet is held", held.len());
        // It is asked to stop, and does not.
        back.session.fall_silent();
        back.session.say(&[0xff; 12]);
        let again = back::accept(&listener, ALL, 1, &scene.memory);
        back = again.join().expect("the thread ends").expect("they agree");
        meet_again(&mut *queue, round);
    }
    assert!(scene.pool.counters().retired_frames > 250, "there were no large ones in the end");
}

/// A back end of two pairs that refuses a ring, and answers to so many requests to stop before it closes the connection. Answers with the rings
/// that it was asked to stop.
fn refuse(stream: UnixStream, refused: u32, stops: usize) -> Vec<u32> {
    let mut channel = Channel::new(stream.into());
    let mut stopped = Vec::new();
    while let Ok(Some(message)) = channel.receive() {
        let request = Request::decode(message.header, &message.payload, message.files.len()).expect("it is a request");
        let reply = match request {
            Request::GetVringBase { index } => {
                stopped.push(index);
                if stopped.len() > stops {
                    break;
                }
                Reply::Ring(RingState { index, value: 0 })
            }
            Request::SetVringNum(RingState { index, .. }) => Reply::Value(u64::from(index == refused)),
            Request::GetFeatures => Reply::Value(ALL),
            Request::GetProtocolFeatures => Reply::Value(protocol_features::MQ | protocol_features::REPLY_ACK),
            Request::GetQueueNum => Reply::Value(2),
            _ => Reply::Value(0),
        };
        if message.header.needs_reply || request.has_reply() {
            channel.send(&reply.encode(request.number()), &[]).expect("the front end waits");
        }
    }
    stopped
}

#[test]
fn rings_of_a_session_that_fails_half_way_are_given_back_only_if_the_back_end_leaves_them() {
    let memory = SharedMemory::new(64 << 20).expect("there is memory");
    let slots = [0; 2].map(|_| Slot::<Pair>::new().expect("a descriptor"));
    let calls = slots.each_ref().map(|slot| slot.call.as_fd());
    let wanted = Wanted { features: ALL, needed: 0, queues: 2, mtu_bytes: 1_500 };
    // Of a back end that closes the connection it is known that it has gone, but not if this side has cut it.
    for (refused, stops, is_cut, is_kept) in
        [(2, 9, false, false), (0, 9, true, false), (2, 1, false, false), (2, 1, true, true), (0, 0, true, true)]
    {
        let (here, there) = UnixStream::pair().expect("descriptors are not short");
        let back = std::thread::spawn(move || refuse(there, refused, stops));
        let level = memory.used_bytes();
        let refusal = Session::new(here, wanted, &memory, &calls, |_| true, || is_cut).map(|_| ());
        let told = refusal.map_err(|error| error.to_string());
        assert_eq!(told, Err("it refuses SET_VRING_NUM, with 1".to_owned()));
        let asked = back.join().expect("the thread ends");
        assert!(asked.iter().copied().eq((0..=refused).take(stops + 1)), "{asked:?}");
        assert_eq!(memory.used_bytes() > level, is_kept, "{refused}, {stops}, {is_cut}");
    }
}

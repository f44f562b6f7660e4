//! Queues that go, and what becomes of their frames and rings.

use sunstar_packet::{Buffer, BufferMut, Packet};
use sunstar_virtio::net::features;

use super::back::{self, ALL};
use super::{Scene, receive, send, wait};
use crate::vhost_user::message::{Request, RingState};
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
        while kept.counters().reconnects < round {
            wait(&mut *kept);
            receive(&mut *kept);
        }
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
    while one.counters().tx_dropped == 0 {
        wait(&mut *one);
        receive(&mut *one);
        send(&mut *one, Packet::from(Buffer::from_static(b"into nothing")));
    }
    drop(one);
    let back = back::accept_until(&listener, ALL, 2, 2, &scene.memory);
    let back = back.join().expect("the thread ends").expect("they agree");
    while kept.counters().reconnects == 0 {
        wait(&mut *kept);
        receive(&mut *kept);
    }
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
    while back.session.asked().is_empty() {
        std::thread::yield_now();
    }
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

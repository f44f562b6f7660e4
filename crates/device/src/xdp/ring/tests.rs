use std::os::fd::AsFd;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::*;

const ENTRIES: u32 = 4;
const AT: XdpRingOffset = XdpRingOffset { producer: 0, consumer: 64, desc: 192, flags: Some(128) };

/// Both sides of a ring in a file of memory, and what else sees it.
fn ring() -> (Producer<u64>, Consumer<u64>, Ring<u64>) {
    let file = memfd_create("ring", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, 4_096).unwrap();
    let map = || Ring::map(file.as_fd(), 0, &AT, ENTRIES).unwrap();
    let seen = map();
    // The indices run over soon.
    for index in [seen.producer(), seen.consumer()] {
        index.store(u32::MAX - 5, Ordering::Relaxed);
    }
    (Producer::of(map()), Consumer::of(map()), seen)
}

#[test]
fn entries_come_out_as_they_went_in_also_when_indices_run_over() {
    let (mut producer, mut consumer, _) = ring();
    let mut expected = 0;
    for round in 0..10 {
        let count = round % ENTRIES + 1;
        assert_eq!(producer.room(ENTRIES), ENTRIES);
        for entry in 0..count {
            producer.push(u64::from(round * 100 + entry));
        }
        assert_eq!(consumer.pop(), None, "nothing was published");
        producer.publish();
        assert_eq!((producer.waiting(), producer.room(ENTRIES)), (count, ENTRIES - count));
        for entry in 0..count {
            assert_eq!(consumer.pop(), Some(u64::from(round * 100 + entry)));
            expected += 1;
        }
        assert_eq!(consumer.pop(), None);
        assert_eq!(producer.room(ENTRIES), ENTRIES - count, "nothing was released");
        consumer.release();
        assert_eq!(producer.waiting(), 0);
    }
    assert!(expected > 2 * ENTRIES);
}

#[test]
fn a_full_ring_has_no_room() {
    let (mut producer, mut consumer, _) = ring();
    for entry in 0..ENTRIES {
        assert_eq!(producer.room(1), ENTRIES - entry);
        producer.push(entry.into());
    }
    producer.publish();
    assert_eq!(producer.room(1), 0);
    assert_eq!(consumer.pop(), Some(0));
    consumer.release();
    assert_eq!(producer.room(1), 1);
}

#[test]
fn indices_without_sense_change_nothing() {
    let (mut producer, mut consumer, seen) = ring();
    let here = u32::MAX - 5;
    for wrong in [here.wrapping_add(ENTRIES + 1), here.wrapping_sub(1)] {
        seen.producer().store(wrong, Ordering::Relaxed);
        assert_eq!(consumer.pop(), None);
    }
    for wrong in [here.wrapping_add(1), here.wrapping_sub(ENTRIES + 1)] {
        seen.consumer().store(wrong, Ordering::Relaxed);
        assert_eq!(producer.room(ENTRIES + 1), ENTRIES);
    }
}

#[test]
fn the_other_side_says_whether_it_has_to_be_told() {
    let (producer, _, seen) = ring();
    assert!(!producer.needs_wakeup());
    // SAFETY: it is within the file, aligned, and used atomically by all.
    unsafe { seen.flags.unwrap().as_ref() }.store(NEED_WAKEUP, Ordering::Relaxed);
    assert!(producer.needs_wakeup());
}

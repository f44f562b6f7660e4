//! What lies in memory, byte by byte, and what a hostile other side may write there.

use crate::queue::{Broken, Chain, ChainError, DriverQueue, QueueOptions, Segment, Taken, Used};
use crate::testing::{DATA, Pair, pair};

const DESCRIPTORS: usize = 0;
const AVAILABLE: usize = 1;
const USED: usize = 2;

fn new(options: QueueOptions) -> Pair {
    pair(false, QueueOptions { size: 4, ..options })
}

fn bytes(pair: &Pair, area: usize, offset: usize, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    pair.areas[area].read(offset, &mut bytes);
    bytes
}

/// Writes a descriptor: address, length, flags, next.
fn describe(pair: &Pair, index: usize, (address, len, flags, next): (u64, u32, u16, u16)) {
    let rest = u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48;
    pair.areas[DESCRIPTORS].write(16 * index, &[address.to_le_bytes(), rest.to_le_bytes()].concat());
}

/// Makes the chain at a descriptor the first one that is available.
fn offer(pair: &Pair, head: u16) {
    pair.areas[AVAILABLE].write(4, &head.to_le_bytes());
    pair.areas[AVAILABLE].write(2, &1_u16.to_le_bytes());
}

fn take(pair: &mut Pair) -> Result<Taken, Broken> {
    pair.device.take(&pair.map, &mut Chain::default())
}

#[test]
fn memory_is_as_virtio_1_2_section_2_7_says() {
    let mut pair = new(QueueOptions::default());
    let segment = |offset, len| Segment { address: DATA + offset, len };
    assert_eq!(pair.driver.add(&[segment(0x10, 5)], &[segment(0x20, 0x1234)]), Ok(0));
    let _ = pair.driver.publish();
    assert_eq!(bytes(&pair, DESCRIPTORS, 0, 16), [0x10, 0, 1, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 1, 0], "NEXT, to 1");
    assert_eq!(bytes(&pair, DESCRIPTORS, 16, 16), [0x20, 0, 1, 0, 0, 0, 0, 0, 0x34, 0x12, 0, 0, 2, 0, 0, 0], "WRITE");
    assert_eq!(bytes(&pair, AVAILABLE, 0, 6), [0, 0, 1, 0, 0, 0], "flags, index, head");
    let mut chain = Chain::default();
    assert_eq!(pair.device.take(&pair.map, &mut chain), Ok(Taken::Chain));
    pair.device.put_used(chain.id(), 0x1234);
    let _ = pair.device.publish();
    assert_eq!(bytes(&pair, USED, 0, 12), [0, 0, 1, 0, 0, 0, 0, 0, 0x34, 0x12, 0, 0], "flags, index, head, length");
}

#[test]
fn wishes_lie_behind_the_other_sides_ring() {
    let mut pair = new(QueueOptions { has_event_index: true, ..QueueOptions::default() });
    pair.driver.add(&[Segment { address: DATA, len: 1 }], &[]).expect("there is room");
    let _ = pair.driver.publish();
    let mut chain = Chain::default();
    assert_eq!(pair.device.take(&pair.map, &mut chain), Ok(Taken::Chain));
    assert!(!pair.device.enable_notifications());
    assert_eq!(bytes(&pair, USED, 4 + 8 * 4, 2), [1, 0], "avail_event");
    pair.device.put_used(chain.id(), 0);
    let _ = pair.device.publish();
    pair.driver.take_used().expect("the ring is fine").expect("it came back");
    assert!(!pair.driver.enable_notifications());
    assert_eq!(bytes(&pair, AVAILABLE, 4 + 2 * 4, 2), [1, 0], "used_event");
}

#[test]
fn chains_that_lead_nowhere_are_refused() {
    const NEXT: u16 = 1;
    const WRITE: u16 = 2;
    const INDIRECT: u16 = 4;
    let options = QueueOptions { has_indirect: true, ..QueueOptions::default() };
    for (first, error) in [
        ((DATA, 1, NEXT, 4), ChainError::NoSuchDescriptor),
        ((DATA, 1, NEXT, 0xffff), ChainError::NoSuchDescriptor),
        ((DATA, 1, NEXT, 2), ChainError::Endless),
        ((DATA, 1, WRITE | NEXT, 3), ChainError::Order),
        ((DATA, 0, INDIRECT, 0), ChainError::IndirectLength),
        ((DATA, 17, INDIRECT, 0), ChainError::IndirectLength),
        ((DATA, 5 * 16, INDIRECT, 0), ChainError::IndirectLength),
        ((DATA + 4, 16, INDIRECT, 0), ChainError::IndirectLength),
        ((DATA, u32::MAX, INDIRECT, 0), ChainError::IndirectLength),
        ((DATA + 0xfff8, 16, INDIRECT, 0), ChainError::NotMapped),
        ((DATA, 16, INDIRECT | NEXT, 3), ChainError::Indirect),
        ((DATA + 0x100, 32, INDIRECT, 0), ChainError::NoSuchDescriptor),
    ] {
        let mut pair = new(options);
        // A chain that comes back to its first one, and one to be read.
        describe(&pair, 2, (DATA, 1, NEXT, 2));
        describe(&pair, 3, (DATA, 1, 0, 0));
        // A table of two descriptors, of which the first leads to a third one.
        let rest = (1 | u64::from(NEXT) << 32 | 2 << 48_u64).to_le_bytes();
        pair.data.write(0x100, &[DATA.to_le_bytes(), rest].concat());
        describe(&pair, 0, first);
        offer(&pair, 0);
        assert_eq!(take(&mut pair), Ok(Taken::Refused(error)), "{first:x?}");
        assert_eq!(take(&mut pair), Ok(Taken::Nothing), "and the ring goes on");
    }
}

/// §2.7.5.3.2: a table of descriptors may end a chain that begins without one; in a table there is none.
#[test]
fn a_chain_may_end_in_a_table() {
    let mut pair = new(QueueOptions { has_indirect: true, ..QueueOptions::default() });
    describe(&pair, 0, (DATA, 12, 1, 3));
    describe(&pair, 3, (DATA + 0x100, 32, 4, 0));
    let rest = |len: u64, flags: u64, next: u64| (len | flags << 32 | next << 48).to_le_bytes();
    let table = [(DATA + 0x10).to_le_bytes(), rest(20, 1, 1), (DATA + 0x40).to_le_bytes(), rest(30, 2, 0)].concat();
    pair.data.write(0x100, &table);
    offer(&pair, 0);
    let mut chain = Chain::default();
    assert_eq!(pair.device.take(&pair.map, &mut chain), Ok(Taken::Chain));
    let lengths = |parts: &[crate::Part]| parts.iter().map(|part| part.len).collect::<Vec<_>>();
    assert_eq!((lengths(chain.readable()), lengths(chain.writable())), (vec![12, 20], vec![30]));
    let mut pair = new(QueueOptions { has_indirect: true, ..QueueOptions::default() });
    pair.data.write(0x100, &[DATA.to_le_bytes(), rest(16, 4, 0)].concat());
    describe(&pair, 0, (DATA + 0x100, 16, 4, 0));
    offer(&pair, 0);
    assert_eq!(take(&mut pair), Ok(Taken::Refused(ChainError::Indirect)));
}

#[test]
fn what_the_driver_can_not_know_to_be_used_is_out() {
    let mut pair = new(QueueOptions::default());
    for _ in 0..4 {
        pair.driver.add(&[Segment { address: DATA, len: 1 }], &[]).expect("there is room");
    }
    let _ = pair.driver.publish();
    let mut chain = Chain::default();
    for _ in 0..4 {
        assert_eq!(pair.device.take(&pair.map, &mut chain), Ok(Taken::Chain));
        pair.device.put_used(chain.id(), 0);
    }
    for index in [5_u16, 3, 1] {
        pair.areas[AVAILABLE].write(2, &index.to_le_bytes());
        assert_eq!(take(&mut pair), Err(Broken::Index), "{index}");
    }
}

#[test]
fn a_table_that_was_not_negotiated_is_refused() {
    let mut pair = new(QueueOptions::default());
    describe(&pair, 0, (DATA, 16, 4, 0));
    offer(&pair, 0);
    assert_eq!(take(&mut pair), Ok(Taken::Refused(ChainError::Indirect)));
}

#[test]
fn a_driver_that_writes_nonsense_breaks_the_ring() {
    let mut pair = new(QueueOptions::default());
    offer(&pair, 4);
    assert_eq!(take(&mut pair), Err(Broken::Head(4)));
    pair.areas[AVAILABLE].write(2, &5_u16.to_le_bytes());
    let mut pair = new(QueueOptions::default());
    pair.areas[AVAILABLE].write(2, &5_u16.to_le_bytes());
    assert_eq!(take(&mut pair), Err(Broken::Index), "five of four");
    assert_eq!(take(&mut pair), Err(Broken::Index), "and again");
}

#[test]
fn a_device_that_writes_nonsense_breaks_the_ring() {
    for (index, id, error) in [
        (2_u16, 0_u32, Broken::Index),
        (1, 1, Broken::NotAvailable(1)),
        (1, 4, Broken::NotAvailable(4)),
        (1, 0x1_0000, Broken::NotAvailable(0x1_0000)),
    ] {
        let mut pair = new(QueueOptions::default());
        pair.driver.add(&[Segment { address: DATA, len: 1 }], &[]).expect("there is room");
        let _ = pair.driver.publish();
        pair.areas[USED].write(4, &id.to_le_bytes());
        pair.areas[USED].write(2, &index.to_le_bytes());
        assert_eq!(pair.driver.take_used(), Err(error));
    }
}

#[test]
fn a_batch_ends_where_the_index_does() {
    let mut pair = new(QueueOptions { is_in_order: true, ..QueueOptions::default() });
    let DriverQueue::Split(driver) = &mut pair.driver else { unreachable!("it is split") };
    for _ in 0..4 {
        driver.add(&[Segment { address: DATA, len: 1 }], &[]).expect("there is room");
    }
    let _ = driver.publish();
    // The third chain is named, of which the index says nothing.
    pair.areas[USED].write(4, &[2_u32.to_le_bytes(), 7_u32.to_le_bytes()].concat());
    pair.areas[USED].write(2, &1_u16.to_le_bytes());
    assert_eq!(driver.take_used(), Ok(Some(Used { token: 0, written: None })));
    assert_eq!(driver.take_used(), Err(Broken::NotAvailable(2)), "the second one is the device's");
}

#[test]
fn one_entry_may_tell_of_several_chains_in_order() {
    let mut pair = new(QueueOptions { is_in_order: true, ..QueueOptions::default() });
    let DriverQueue::Split(driver) = &mut pair.driver else { unreachable!("it is split") };
    for round in 0..5_u16 {
        for nth in 0..3 {
            assert_eq!(driver.add(&[Segment { address: DATA, len: 1 }], &[]), Ok((3 * round + nth) % 4));
        }
        let _ = driver.publish();
        let (first, last) = ((3 * round) % 4, (3 * round + 2) % 4);
        // Only the last one is named, at the place of the first.
        pair.areas[USED]
            .write(4 + 8 * usize::from(first), &[u32::from(last).to_le_bytes(), 7_u32.to_le_bytes()].concat());
        pair.areas[USED].write(2, &(3 * (round + 1)).to_le_bytes());
        for nth in 0..3 {
            let written = (nth == 2).then_some(7);
            assert_eq!(driver.take_used(), Ok(Some(Used { token: (3 * round + nth) % 4, written })));
        }
        assert_eq!(driver.take_used(), Ok(None));
    }
}

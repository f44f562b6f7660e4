use super::*;
use crate::testing::memory;

#[test]
fn slices_and_cells_stay_within_the_memory() {
    let all = memory(64);
    let part = all.slice(8, 16).expect("it lies within");
    assert_eq!(part.len(), 16);
    assert_eq!(part.slice(0, 17).expect_err("one byte more"), OutOfBounds);
    assert_eq!(part.slice(usize::MAX, 2).expect_err("the end overflows"), OutOfBounds);
    assert!(part.cells::<AtomicU64>(2).is_ok());
    assert!(part.cells::<AtomicU64>(3).is_err(), "three need 24 bytes");
    assert!(all.slice(4, 16).expect("within").cells::<AtomicU64>(1).is_err(), "not aligned");
    assert!(part.cells::<AtomicU16>(usize::MAX).is_err(), "the length overflows");
}

#[test]
#[should_panic(expected = "lie within")]
fn reading_past_the_end_panics() {
    memory(8).slice(0, 4).expect("within").read(2, &mut [0; 3]);
}

#[test]
fn what_was_written_is_read() {
    let all = memory(32);
    all.write(3, b"sun star");
    let mut read = [0; 8];
    all.slice(3, 8).expect("within").read(0, &mut read);
    assert_eq!(&read, b"sun star");
}

#[test]
fn as_many_bytes_are_copied_as_there_are_and_no_other_ones() {
    let bytes: Vec<u8> = (1..=250).collect();
    let mut read = [0; 300];
    for len in 0..bytes.len() {
        let all = memory(300);
        all.write(7, &bytes[..len]);
        all.read(0, &mut read);
        assert!(read[..7].iter().chain(&read[7 + len..]).all(|byte| *byte == 0), "{len} bytes");
        assert_eq!(read[7..7 + len], bytes[..len]);
    }
}

#[test]
fn a_map_finds_what_lies_in_one_range_only() {
    let range = |address, bytes| MappedRange { address, memory: memory(bytes) };
    let map = MemoryMap::new(vec![range(0x2000, 0x100), range(0x1000, 0x1000)]).expect("they touch, and don't overlap");
    let part = |address, len| map.part(Segment { address, len });
    assert_eq!(part(0x1ff0, 16), Some(Part { range: 0, offset: 0xff0, len: 16 }));
    assert_eq!(part(0x1ff0, 17), None, "it goes on in the next range");
    assert_eq!(part(0x20ff, 1), Some(Part { range: 1, offset: 0xff, len: 1 }));
    assert_eq!(part(0x2100, 1), None);
    assert_eq!(part(0xfff, 1), None);
    assert_eq!(part(u64::MAX, u32::MAX), None);
    assert_eq!(map.memory(Segment { address: 0x2010, len: 0x10 }).map(|memory| memory.len()), Some(0x10));
}

#[test]
fn ranges_that_make_no_sense_are_refused() {
    let range = |address, bytes| MappedRange { address, memory: memory(bytes) };
    let overlap = MemoryMap::new(vec![range(0x1000, 0x101), range(0x1100, 8)]);
    assert_eq!(overlap.expect_err("one byte is in both"), MapError::Overlap { address: 0x1100 });
    let beyond = MemoryMap::new(vec![range(u64::MAX - 7, 16)]);
    assert_eq!(beyond.expect_err("it ends behind the last"), MapError::Overflow { address: u64::MAX - 7 });
    let many = (0..65).map(|index| range(index * 64, 64)).collect();
    assert_eq!(MemoryMap::new(many).expect_err("one too many"), MapError::TooMany { count: 65 });
}

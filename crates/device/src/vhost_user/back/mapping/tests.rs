use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::*;
use crate::shared_memory::SharedMemory;
use large_pages::LargePages;

#[path = "../../../../tests/vhost_user/large_pages.rs"]
mod large_pages;

/// Bytes of a large page.
const LARGE: u64 = 2 << 20;

#[test]
fn a_part_of_a_file_is_mapped_for_both() {
    let file = memfd_create("test", MemfdFlags::ALLOW_SEALING).expect("a file");
    ftruncate(&file, 0x3000).expect("it has a length");
    let whole = map(&file, 0, 0x3000).expect("it is mapped");
    let part = map(&file, 0x1010, 0x20).expect("it is mapped");
    assert!(whole.is_sealed && part.is_sealed);
    assert_eq!(part.memory.len(), 0x20);
    whole.memory.write(0x1012, b"shared");
    let mut read = [0; 6];
    part.memory.read(2, &mut read);
    assert_eq!(&read, b"shared");
    assert!(ftruncate(&file, 0x1000).is_err(), "it was sealed, so nobody is cut off");
}

#[test]
fn memory_without_seals_is_told() {
    let file = memfd_create("test", MemfdFlags::empty()).expect("a file");
    ftruncate(&file, 0x1000).expect("it has a length");
    assert!(!map(&file, 0, 0x1000).expect("it is mapped").is_sealed);
}

#[test]
fn what_is_shorter_or_no_memory_is_refused() {
    let file = memfd_create("test", MemfdFlags::empty()).expect("a file");
    ftruncate(&file, 0x1001).expect("it has a length");
    let error = |offset, bytes| map(&file, offset, bytes).expect_err("it is refused").to_string();
    assert_eq!(error(0x1000, 2), "its file has 4097 bytes, and 4096 + 2 of it are to be shared");
    assert_eq!(error(0, 0), "0 bytes can't be shared memory");
    assert_eq!(error(u64::MAX, 1), "1 bytes can't be shared memory");
    assert_eq!(error(2, u64::MAX), format!("{} bytes can't be shared memory", u64::MAX));
    assert!(map(&file, 0x1000, 1).is_ok());
    let (socket, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
    assert!(matches!(map(&socket, 0, 1), Err(MappingError::NotMemory)));
    let program = std::fs::File::open("/proc/self/status").expect("it is there");
    assert!(matches!(map(&program, 0, 1), Err(MappingError::NotMemory)));
}

/// They can only be mapped as a whole, and taken away in spite of seals.
#[test]
fn a_part_of_a_file_of_large_pages_is_mapped_for_both() {
    let Some(pages) = LargePages::new() else { return };
    let bytes = 4 * usize::try_from(LARGE).expect("small");
    let file = pages.make(4, || SharedMemory::new(bytes).ok().filter(|memory| memory.is_huge()));
    let system = rustix::fs::fstatfs(&*file).expect("it is a file").f_type.cast_unsigned();
    assert_eq!(system as u64, HUGETLBFS);
    let whole = map(&*file, 0, 4 * LARGE).expect("it is mapped");
    // Over the end of a page, and at no page's beginning.
    let part = map(&*file, 2 * LARGE - 0x10, 0x20).expect("it is mapped");
    assert!(!whole.is_sealed && !part.is_sealed);
    assert_eq!(part.memory.len(), 0x20);
    whole.memory.write(2 * bytes / 4 - 2, b"shared");
    let mut read = [0; 6];
    part.memory.read(0xe, &mut read);
    assert_eq!(&read, b"shared");
    let error = map(&*file, 4 * LARGE - 1, 2).expect_err("it is refused").to_string();
    assert_eq!(error, "its file has 8388608 bytes, and 8388607 + 2 of it are to be shared");
}

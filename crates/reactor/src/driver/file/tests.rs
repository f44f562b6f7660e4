use std::io::Write;
use std::rc::Rc;

use rustix::fs::{Advice, fadvise};

use super::*;

const FILE_BYTES: u64 = 2 * CHUNK_BYTES;
const PAGE_BYTES: u64 = 4096;

/// A file of which the first `resident` bytes are in memory, if the file system can be brought to that.
///
/// Looking for what is not in memory makes the kernel read it, so each file is good for one look.
fn file(resident: u64) -> Option<FilePart> {
    let make = || {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&vec![7; FILE_BYTES.try_into().expect("it is small")]).expect("there is room");
        file.sync_all().expect("it can be written");
        fadvise(&file, resident, None, Advice::DontNeed).expect("it is a file");
        file
    };
    let first = make();
    let can_be = (resident == 0 || is_resident(&first, 0)) && !is_resident(&first, resident);
    if !can_be {
        println!("the file system can't say what is in memory, or keeps all of it");
    }
    can_be.then(|| FilePart { file: Rc::new(make()), offset: 0, len_bytes: FILE_BYTES })
}

#[test]
fn what_is_in_memory_is_found() {
    let Some(part) = file(FILE_BYTES - PAGE_BYTES) else { return };
    assert_eq!(resident_bytes(&part), CHUNK_BYTES);
    assert_eq!(resident_bytes(&FilePart { offset: 1, len_bytes: 10, ..part }), 10);
}

#[test]
fn what_is_not_in_memory_is_not_found() {
    let Some(part) = file(CHUNK_BYTES / 2) else { return };
    let resident = resident_bytes(&part);
    assert!(resident > 0 && resident <= CHUNK_BYTES / 2, "{resident}");
    let Some(part) = file(CHUNK_BYTES / 2) else { return };
    assert_eq!(resident_bytes(&FilePart { offset: CHUNK_BYTES + 1, len_bytes: 10, ..part }), 0);
    // The last byte alone is missing.
    let Some(part) = file(CHUNK_BYTES / 2) else { return };
    let edge = FilePart { offset: CHUNK_BYTES / 2 - PAGE_BYTES, len_bytes: PAGE_BYTES + 1, ..part };
    assert_eq!(resident_bytes(&edge), 1);
}

#[test]
fn what_was_read_through_is_in_memory() {
    let Some(part) = file(0) else { return };
    read_through(&part.file, part.offset, CHUNK_BYTES);
    assert_eq!(resident_bytes(&part), CHUNK_BYTES);
    // Beyond the end there is nothing to wait for.
    read_through(&part.file, FILE_BYTES - 1, 100);
    assert_eq!(resident_bytes(&FilePart { offset: FILE_BYTES, ..part }), CHUNK_BYTES);
}

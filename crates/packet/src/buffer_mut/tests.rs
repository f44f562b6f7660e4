use alloc::vec::Vec;
use core::mem::MaybeUninit;
use proptest::prelude::*;

use super::{BufferMut, NoRoom, TooShort};
use crate::block::OutOfMemory;
use crate::pool::{Pool, PoolOptions};

#[test]
fn headers_go_in_front_and_payload_behind() {
    let mut buffer = BufferMut::with_capacity(8, 16);
    buffer.extend_from_slice(b"payload").expect("seven of sixteen bytes");
    buffer.prepend(4).expect("four of eight bytes").copy_from_slice(b"tcp ");
    buffer.push_front(b"ip ").expect("three more");
    assert_eq!(*buffer, *b"ip tcp payload");
    assert_eq!((buffer.headroom(), buffer.tailroom()), (1, 9));
    assert_eq!(buffer.push_front(b"eth "), Err(NoRoom { available_bytes: 1 }));
    assert_eq!(buffer.extend_from_slice(&[0; 10]), Err(NoRoom { available_bytes: 9 }));
    assert_eq!(*buffer, *b"ip tcp payload");
    let place = buffer.as_ptr();
    assert_eq!(buffer.freeze().as_ptr(), place);
}

#[test]
fn several_parts_are_copied_together_or_not_at_all() {
    let mut buffer = BufferMut::with_capacity(0, 8);
    buffer.extend_from_slices([b"ab", b"", b"cde"]).expect("five of eight bytes");
    assert_eq!(buffer.extend_from_slices([b"f", b"ghi"]), Err(NoRoom { available_bytes: 3 }));
    assert_eq!(*buffer, *b"abcde");
    buffer.extend_from_slices([b"f", b"gh"]).expect("the last three");
    assert_eq!((&buffer[..], buffer.tailroom()), (&b"abcdefgh"[..], 0));
}

#[test]
fn new_room_is_zeroed_also_where_bytes_have_been() {
    let mut buffer = BufferMut::with_capacity(4, 4);
    buffer.extend_from_slice(b"abcd").expect("four bytes");
    buffer.push_front(b"head").expect("four bytes");
    buffer.advance(4).expect("the header is there");
    buffer.truncate(2);
    assert_eq!(buffer.prepend(2).expect("two of four"), b"\0\0");
    assert_eq!(buffer.append(2).expect("two of two"), b"\0\0");
    assert_eq!(*buffer, *b"\0\0ab\0\0");
    assert_eq!(buffer.advance(7), Err(TooShort { len_bytes: 6 }));
}

#[test]
fn a_reader_fills_the_spare_room() {
    let mut buffer = BufferMut::with_capacity(0, 10);
    buffer.spare()[..3].copy_from_slice(&[MaybeUninit::new(b'r'); 3]);
    // SAFETY: three bytes have just been written.
    unsafe { buffer.advance_len(3) };
    assert_eq!(*buffer, *b"rrr");
    assert_eq!(buffer.spare().len(), 7);
}

#[test]
fn growing_is_explicit_and_gives_the_old_memory_back() {
    let pool = Pool::new(PoolOptions { frame_bytes: 8, headroom_bytes: 0, limit_frames: 1 }).expect("a small pool");
    let mut buffer = pool.take().expect("the only frame");
    buffer.extend_from_slice(b"12345678").expect("eight bytes");
    buffer.grow(0, 0).expect("nothing to do");
    assert_eq!(pool.counters().in_use_frames, 1);
    buffer.grow(2, 3).expect("a few bytes");
    assert_eq!((&buffer[..], buffer.headroom(), buffer.tailroom()), (&b"12345678"[..], 2, 3));
    assert_eq!(pool.counters().in_use_frames, 0);
    assert_eq!(buffer.grow(usize::MAX, 0), Err(OutOfMemory));
    assert_eq!(buffer.grow(0, usize::MAX), Err(OutOfMemory));
    assert_eq!(buffer.grow(0, isize::MAX as usize), Err(OutOfMemory));
    assert_eq!(*buffer, *b"12345678");
}

#[test]
fn sizes_that_can_not_be_are_errors() {
    assert_eq!(BufferMut::try_with_capacity(usize::MAX, 1).err(), Some(OutOfMemory));
    assert_eq!(BufferMut::try_with_capacity(0, usize::MAX).err(), Some(OutOfMemory));
    assert!(BufferMut::with_capacity(0, 0).is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Prepend(Vec<u8>),
    Extend(Vec<u8>),
    Advance(usize),
    Truncate(usize),
    Grow(usize, usize),
    FreezeAndBack,
    Set(usize, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..12);
    prop_oneof![
        bytes().prop_map(Step::Prepend),
        bytes().prop_map(Step::Extend),
        (0..12usize).prop_map(Step::Advance),
        (0..40usize).prop_map(Step::Truncate),
        (0..12usize, 0..12usize).prop_map(|(headroom, tailroom)| Step::Grow(headroom, tailroom)),
        Just(Step::FreezeAndBack),
        (0..40usize, any::<u8>()).prop_map(|(at, value)| Step::Set(at, value)),
    ]
}

/// A vector with the room that its buffer must have.
struct Model {
    bytes: Vec<u8>,
    headroom: usize,
    tailroom: usize,
}

impl Model {
    fn apply(&mut self, step: Step, mut buffer: BufferMut) -> BufferMut {
        match step {
            Step::Prepend(front) => {
                assert_eq!(buffer.push_front(&front).is_ok(), front.len() <= self.headroom);
                if front.len() <= self.headroom {
                    self.headroom -= front.len();
                    self.bytes.splice(0..0, front);
                }
            }
            Step::Extend(back) => {
                assert_eq!(buffer.extend_from_slice(&back).is_ok(), back.len() <= self.tailroom);
                if back.len() <= self.tailroom {
                    self.tailroom -= back.len();
                    self.bytes.extend(back);
                }
            }
            Step::Advance(count) => {
                assert_eq!(buffer.advance(count).is_ok(), count <= self.bytes.len());
                if count <= self.bytes.len() {
                    self.headroom += count;
                    self.bytes.drain(..count);
                }
            }
            Step::Truncate(len) => {
                buffer.truncate(len);
                self.tailroom += self.bytes.len().saturating_sub(len);
                self.bytes.truncate(len);
            }
            Step::Grow(headroom, tailroom) => {
                buffer.grow(headroom, tailroom).expect("a few bytes");
                if headroom > self.headroom || tailroom > self.tailroom {
                    (self.headroom, self.tailroom) = (headroom, tailroom);
                }
            }
            Step::FreezeAndBack => buffer = buffer.freeze().try_into_mut().expect("the only holder"),
            Step::Set(at, value) => {
                if let (Some(place), Some(expected)) = (buffer.get_mut(at), self.bytes.get_mut(at)) {
                    (*place, *expected) = (value, value);
                }
            }
        }
        buffer
    }
}

proptest! {
    #[test]
    fn a_unique_buffer_behaves_like_a_vector_with_room(steps in prop::collection::vec(step(), 0..60)) {
        let mut model = Model { bytes: Vec::new(), headroom: 16, tailroom: 24 };
        let mut buffer = BufferMut::with_capacity(16, 24);
        for step in steps {
            buffer = model.apply(step, buffer);
            prop_assert_eq!(&*buffer, &*model.bytes);
            prop_assert_eq!((buffer.headroom(), buffer.tailroom()), (model.headroom, model.tailroom));
        }
    }
}

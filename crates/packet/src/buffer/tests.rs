use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use core::ptr::NonNull;
use proptest::prelude::*;

use super::Buffer;
use crate::block::{Access, Block};
use crate::buffer_mut::BufferMut;

#[test]
fn static_and_empty_buffers_hold_no_memory() {
    let empty = Buffer::new();
    assert!(empty.is_empty() && !empty.is_unique());
    assert!(Buffer::copy_from_slice(b"").hold.is_none());
    assert!(Buffer::from(Vec::new()).hold.is_none());
    let text = Buffer::from("static");
    assert_eq!(text.slice(2..), b"atic");
    assert!(text.try_into_mut().is_err());
    let copied = Buffer::copy_from_slice(b"copied");
    assert!(copied.slice(3..3).hold.is_none(), "an empty slice holds nothing");
    assert!(copied.is_unique());
}

#[test]
fn clones_and_slices_share_the_memory() {
    let buffer = Buffer::copy_from_slice(b"hello world");
    let (clone, part) = (buffer.clone(), buffer.slice(6..=8));
    assert_eq!(part.as_ptr(), buffer[6..].as_ptr());
    assert_eq!((&part[..], clone.as_ptr()), (&b"wor"[..], buffer.as_ptr()));
    assert!(!buffer.is_unique());
    drop((buffer, clone));
    assert!(part.is_unique());
}

#[test]
fn parts_found_by_a_parser_become_buffers() {
    let buffer = Buffer::copy_from_slice(b"GET /path HTTP/1.1").slice(4..);
    let found = &buffer[..5];
    let path = buffer.slice_of(found).expect("it was found there");
    assert_eq!((&path[..], path.as_ptr()), (&b"/path"[..], found.as_ptr()));
    assert!(path.slice_of(&buffer).is_none());
    assert!(buffer.slice_of(b"/path").is_none());
    assert_eq!(buffer.slice_of(&buffer[14..]).expect("the end lies within"), b"");
}

#[test]
fn a_taken_over_vector_is_not_copied() {
    let mut bytes = Vec::with_capacity(100);
    bytes.extend_from_slice(b"vector");
    let place = bytes.as_ptr();
    let buffer = Buffer::from(bytes);
    assert_eq!((buffer.as_ptr(), &buffer[..]), (place, &b"vector"[..]));
    let unique = buffer.try_into_mut().expect("nobody else has the vector");
    assert_eq!(unique.tailroom(), 94);
}

#[test]
fn an_owner_lives_until_the_last_view_is_gone() {
    struct Inline([u8; 4], Rc<Cell<bool>>);

    impl AsRef<[u8]> for Inline {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Drop for Inline {
        fn drop(&mut self) {
            self.1.set(true);
        }
    }

    let is_gone = Rc::new(Cell::new(false));
    let mut buffer = Buffer::from_owner(Inline(*b"mine", Rc::clone(&is_gone)));
    let back = buffer.split_off(2);
    assert_eq!((&buffer[..], &back[..]), (&b"mi"[..], &b"ne"[..]));
    drop(buffer);
    let back = back.try_into_mut().expect_err("an owner's bytes are not writable");
    assert!(!is_gone.get());
    drop(back);
    assert!(is_gone.get());
}

/// As a device's pool would have it: the header in the pool's own record, the bytes elsewhere.
#[repr(C)]
struct Frame {
    block: Block,
    bytes: NonNull<u8>,
    returns: Cell<usize>,
}

impl Frame {
    const BYTES: usize = 32;

    fn new() -> NonNull<Self> {
        let bytes = NonNull::from(Box::leak(Box::new([0u8; Self::BYTES]))).cast();
        let block = Block::new(bytes, Self::BYTES, Access::Writable, Self::release);
        NonNull::from(Box::leak(Box::new(Self { block, bytes, returns: Cell::new(0) })))
    }

    unsafe fn release(block: NonNull<Block>) {
        // SAFETY: only frames have this function, and the block is their first field.
        let frame = unsafe { block.cast::<Self>().as_ref() };
        frame.returns.set(frame.returns.get() + 1);
    }

    unsafe fn free(frame: NonNull<Self>) {
        // SAFETY: `new` has leaked these boxes; the caller says that nobody uses them any more.
        unsafe {
            drop(Box::from_raw((*frame.as_ptr()).bytes.cast::<[u8; Self::BYTES]>().as_ptr()));
            drop(Box::from_raw(frame.as_ptr()));
        }
    }
}

#[test]
fn a_device_frame_comes_back_through_its_own_header() {
    let frame = Frame::new();
    // SAFETY: valid until the end of the test.
    let (bytes, returns) = unsafe { (frame.as_ref().bytes, || frame.as_ref().returns.get()) };
    for round in 1..=3 {
        // SAFETY: the device has filled nobody else's ten bytes at offset four; the frame is free in each round.
        let received = unsafe { Buffer::from_block(frame.cast(), bytes.add(4), 10) };
        let header = received.slice(..4);
        drop(received);
        assert_eq!(returns(), 2 * round - 2);
        drop(header);
        assert_eq!(returns(), 2 * round - 1);
        // SAFETY: the frame is free again, and was initialised when it was made.
        let mut sent = unsafe { BufferMut::from_block(frame.cast(), 8, 4) };
        sent.push_front(b"headhead").expect("eight bytes of head room");
        assert!(sent.push_front(b"!").is_err());
        assert_eq!(sent.tailroom(), 20);
        drop(sent.freeze());
        assert_eq!(returns(), 2 * round);
    }
    // SAFETY: all buffers are gone.
    unsafe { Frame::free(frame) };
}

#[test]
fn too_many_references_panic_and_release_nothing() {
    let buffer = Buffer::copy_from_slice(b"popular");
    let hold = buffer.hold.as_ref().expect("copied bytes have memory");
    hold.set_refs(u32::MAX);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| buffer.clone())).is_err());
    hold.set_refs(1);
    assert_eq!(buffer, b"popular");
}

#[test]
fn long_buffers_are_shown_in_part() {
    assert_eq!(format!("{:?}", Buffer::from_static(b"a\"\n\xff")), r#"b"a\"\n\xff""#);
    let long = format!("{:?}", Buffer::from(vec![b'x'; 1460]));
    assert!(long.ends_with("xxx\"... (1460 bytes)") && long.len() < 100, "{long}");
}

#[test]
fn equal_bytes_are_equal_and_hash_alike() {
    use core::hash::{BuildHasher, BuildHasherDefault};
    let hasher = BuildHasherDefault::<std::hash::DefaultHasher>::default();
    let (heap, fixed) = (Buffer::copy_from_slice(b"same"), Buffer::from_static(b"same"));
    assert_eq!(heap, fixed);
    assert_eq!(heap, *b"same");
    assert_eq!(heap, vec![b's', b'a', b'm', b'e']);
    assert_eq!(heap, "same");
    assert_ne!(heap, fixed.slice(..3));
    assert_eq!(hasher.hash_one(&heap), hasher.hash_one(&b"same"[..]));
}

#[derive(Clone, Debug)]
enum Step {
    Clone,
    Slice(usize, usize),
    SplitTo(usize),
    SplitOff(usize),
    Advance(usize),
    Truncate(usize),
    Drop,
    /// Through the writable form and back, with its first byte changed.
    Rewrite(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Clone),
        (0..40usize, 0..40usize).prop_map(|(start, end)| Step::Slice(start, end)),
        (0..40usize).prop_map(Step::SplitTo),
        (0..40usize).prop_map(Step::SplitOff),
        (0..40usize).prop_map(Step::Advance),
        (0..40usize).prop_map(Step::Truncate),
        Just(Step::Drop),
        any::<u8>().prop_map(Step::Rewrite),
    ]
}

/// One buffer of each origin, with a model of its bytes.
fn origins(bytes: &'static [u8]) -> Vec<(Buffer, Vec<u8>)> {
    let mut room = BufferMut::with_capacity(7, 64);
    room.extend_from_slice(bytes).expect("the buffer is large enough");
    let buffers = [
        Buffer::from_static(bytes),
        Buffer::copy_from_slice(bytes),
        Buffer::from(bytes.to_vec()),
        Buffer::from_owner(Box::<[u8]>::from(bytes)),
        room.freeze(),
    ];
    buffers.map(|buffer| (buffer, bytes.to_vec())).into()
}

fn apply(handles: &mut Vec<(Buffer, Vec<u8>)>, at: usize, step: Step) {
    let at = at % handles.len();
    let (buffer, model) = &mut handles[at];
    match step {
        Step::Clone => {
            let pair = (buffer.clone(), model.clone());
            handles.push(pair);
        }
        Step::Slice(start, end) => match (buffer.try_slice(start..end), model.get(start..end)) {
            (Some(part), Some(expected)) => {
                let pair = (part, expected.to_vec());
                handles.push(pair);
            }
            (part, expected) => assert_eq!((part.as_deref(), expected), (None, None)),
        },
        Step::SplitTo(count) => {
            let count = count.min(model.len());
            let back = model.split_off(count);
            let pair = (buffer.split_to(count), core::mem::replace(model, back));
            handles.push(pair);
        }
        Step::SplitOff(count) => {
            let count = count.min(model.len());
            let pair = (buffer.split_off(count), model.split_off(count));
            handles.push(pair);
        }
        Step::Advance(count) => {
            let count = count.min(model.len());
            buffer.advance(count);
            model.drain(..count);
        }
        Step::Truncate(len) => {
            buffer.truncate(len);
            model.truncate(len);
        }
        Step::Drop => {
            if handles.len() > 1 {
                handles.swap_remove(at);
            }
        }
        Step::Rewrite(value) => match core::mem::take(buffer).try_into_mut() {
            Ok(mut unique) => {
                if let (Some(first), Some(expected)) = (unique.first_mut(), model.first_mut()) {
                    (*first, *expected) = (value, value);
                }
                *buffer = unique.freeze();
            }
            Err(shared) => *buffer = shared,
        },
    }
}

proptest! {
    #[test]
    fn buffers_behave_like_vectors(steps in prop::collection::vec((0..1000usize, step()), 0..50)) {
        let mut handles = origins(b"0123456789abcdefghijklmnopqrstuvwxyz");
        for (at, step) in steps {
            apply(&mut handles, at, step);
            for (buffer, model) in &handles {
                prop_assert_eq!(&**buffer, &**model);
            }
        }
    }
}

#[test]
#[should_panic(expected = "out of range of a buffer of 3 bytes")]
fn slices_beyond_the_end_panic() {
    drop(Buffer::from_static(b"abc").slice(2..4));
}

#[test]
#[should_panic(expected = "out of range of a buffer of 3 bytes")]
fn advancing_beyond_the_end_panics() {
    Buffer::from_static(b"abc").advance(4);
}

#[test]
fn parts_that_were_cut_are_joined_again() {
    let whole = Buffer::copy_from_slice(b"a buffer that is cut");
    let (mut front, middle, back) = (whole.slice(..5), whole.slice(5..9), whole.slice(9..));
    let back = front.try_append(back).expect_err("something is missing in between");
    assert_eq!(front, b"a buf");
    front.try_append(middle).expect("it lies behind");
    front.try_append(back).expect("it lies behind");
    assert_eq!(front, whole);
    drop(whole);
    assert!(front.is_unique(), "the parts are gone");
    assert_eq!(front.try_into_mut().expect("nobody else sees it"), BufferMut::from(b"a buffer that is cut".to_vec()));
}

#[test]
fn what_lies_in_other_memory_is_not_joined() {
    let mut one = Buffer::copy_from_slice(b"one");
    let other = one.try_append(Buffer::copy_from_slice(b"other")).expect_err("it lies elsewhere");
    assert_eq!((one, other), (Buffer::from_static(b"one"), Buffer::from_static(b"other")));
    // Nothing is known about what statics lie in.
    let bytes: &'static [u8] = b"static";
    let mut front = Buffer::from_static(&bytes[..3]);
    front.try_append(Buffer::from_static(&bytes[3..])).expect_err("it has no memory");
    front.try_append(Buffer::new()).expect_err("it has no memory");
}

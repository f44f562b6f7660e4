use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Holding, Kind, Mark, live_since, mark, report_since};
use crate::home::HomeOwner;
use crate::home::tests::Bell;
use crate::{Buffer, BufferMut, Packet, Pool, PoolOptions};

/// The handles that this very file has made: other tests run at the same time.
fn ours(since: Mark, first_line: u32) -> Vec<Holding> {
    let lines = first_line..first_line + 40;
    live_since(since)
        .into_iter()
        .filter(|holding| holding.place.file() == file!() && lines.contains(&holding.place.line()))
        .collect()
}

#[test]
fn a_leak_is_reported_with_its_holder() {
    let before = mark();
    let leaked = Buffer::copy_from_slice(b"leaked").held_by(format_args!("socket {} receive queue", 7));
    let mut report = String::new();
    report_since(before, &mut report).expect("a string takes everything");
    let line = report.lines().find(|line| line.contains("socket 7 receive queue")).expect("the leak is listed");
    assert!(line.starts_with("Buffer #") && line.contains(file!()), "{line}");
    drop(leaked);
    report.clear();
    report_since(before, &mut report).expect("a string takes everything");
    assert!(!report.contains("socket 7 receive queue"));
}

#[test]
fn every_handle_is_listed_where_it_was_made() {
    let (before, start) = (mark(), line!());
    let buffer = Buffer::copy_from_slice(b"abcdef").held_by("a name that is not inherited");
    let clone = buffer.clone();
    let slice = buffer.slice(1..);
    let mut rest = buffer.clone();
    let front = rest.split_to(3);
    let (fixed, empty) = (Buffer::from_static(b"static").clone(), slice.slice(2..2));
    let lines: Vec<_> = ours(before, start).iter().map(|holding| holding.place.line() - start).collect();
    assert_eq!(lines, [1, 2, 3, 4, 5], "in the order of making, without those that hold no memory");
    let holders = ours(before, start).iter().filter(|holding| holding.holder.is_some()).count();
    assert_eq!(holders, 1);
    drop((buffer, clone, slice, rest, front, fixed, empty));
    assert!(ours(before, start).is_empty());
}

#[test]
fn a_handle_keeps_its_name_through_all_its_forms() {
    let home = HomeOwner::new(Box::new(Bell::default()));
    let pool = Pool::new(PoolOptions { frame_bytes: 64, headroom_bytes: 0, limit_frames: 2 }).expect("a small pool");
    let (before, start) = (mark(), line!());
    let only = |kind: Kind, line: u32| {
        let ours = ours(before, start);
        assert_eq!(ours.len(), 1);
        assert_eq!((ours[0].kind, ours[0].place.line()), (kind, start + line));
        assert_eq!(ours[0].holder.as_deref(), Some("the traveller"));
    };
    let mut frame: BufferMut = pool.take().expect("the first frame").held_by("the traveller");
    only(Kind::BufferMut, 7);
    frame.append(3).expect("three bytes fit");
    let buffer = frame.freeze();
    only(Kind::Buffer, 10);
    let foreign = buffer.into_foreign(&home);
    only(Kind::ForeignBuffer, 12);
    let arrived = foreign.into_buffer();
    only(Kind::Buffer, 14);
    drop(arrived);
    assert!(ours(before, start).is_empty());
    home.drain();
}

#[test]
fn a_packet_names_the_holder_of_all_its_buffers() {
    let (before, start) = (mark(), line!());
    let mut packet = Packet::from(Buffer::copy_from_slice(b"payload"));
    packet.prepend(b"header").expect("there is room in the chain");
    let packet = packet.held_by("the send queue");
    let listed = ours(before, start);
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|holding| holding.to_string().ends_with("held by the send queue")));
    drop(packet);
}

//! lwIP as Debian builds it (an operating system's locks included), by its raw API; see `lwip.c`.

use sunstar_bench_common::tcp::{Ends, Event, Link, Side};

#[repr(C)]
struct Told {
    slot: u32,
    kind: u8,
    side: u8,
}

unsafe extern "C" {
    fn peer_init(mtu: u16) -> i32;
    fn peer_connect(slot: usize) -> i32;
    fn peer_turn(events: *mut *const Told) -> usize;
    fn peer_send(side: u8, slot: usize, bytes: *const u8, len: usize) -> usize;
    fn peer_peek(side: u8, slot: usize, bytes: *mut *const u8) -> isize;
    fn peer_read(side: u8, slot: usize, len: usize);
    fn peer_close(side: u8, slot: usize) -> i32;
}

/// The one stack of the process.
pub(crate) struct Lwip(());

fn number(side: Side) -> u8 {
    u8::from(side == Side::Server)
}

impl Ends for Lwip {
    fn new(_: usize, link: Link) -> Self {
        let mtu = if link == Link::Mtu1500 { 1_500 } else { u16::MAX };
        // SAFETY: this is the first call, on the only thread.
        assert_eq!(unsafe { peer_init(mtu) }, 0, "lwIP begins");
        Self(())
    }

    fn connect(&mut self, slot: usize) {
        // SAFETY: it was begun, and there is one thread. So below.
        assert_eq!(unsafe { peer_connect(slot) }, 0, "lwIP connects");
    }

    fn turn(&mut self, events: &mut Vec<Event>) {
        let mut told = std::ptr::null();
        // SAFETY: as above. What it answers is its own until the next call, and nothing is called before it was read.
        let told = unsafe {
            let len = peer_turn(&raw mut told);
            if len == 0 { &[] } else { std::slice::from_raw_parts(told, len) }
        };
        events.extend(told.iter().map(|told| {
            let (side, slot) = (if told.side == 0 { Side::Client } else { Side::Server }, told.slot as usize);
            match told.kind {
                0 => Event::Connected(slot),
                1 => Event::Readable(side, slot),
                _ => Event::Writable(side, slot),
            }
        }));
    }

    fn send(&mut self, side: Side, slot: usize, bytes: &[u8]) -> usize {
        // SAFETY: as above. The bytes are copied.
        unsafe { peer_send(number(side), slot, bytes.as_ptr(), bytes.len()) }
    }

    fn receive(&mut self, side: Side, slot: usize, most: usize, mut read: impl FnMut(&[u8])) -> Option<usize> {
        let mut got = 0;
        while got < most {
            let mut bytes = std::ptr::null();
            // SAFETY: as above. The bytes stay in place until `peer_read`.
            match unsafe { peer_peek(number(side), slot, &raw mut bytes) } {
                0 => break,
                ..0 if got == 0 => return None,
                ..0 => break,
                len @ 1.. => {
                    let len = len.unsigned_abs().min(most - got);
                    // SAFETY: as above.
                    read(unsafe { std::slice::from_raw_parts(bytes, len) });
                    got += len;
                    // SAFETY: as above.
                    unsafe { peer_read(number(side), slot, len) };
                }
            }
        }
        Some(got)
    }

    fn close(&mut self, side: Side, slot: usize) {
        // SAFETY: as above.
        assert_eq!(unsafe { peer_close(number(side), slot) }, 0, "lwIP closes");
    }
}

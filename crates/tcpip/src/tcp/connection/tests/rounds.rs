//! Numbers come round: what lies behind would lie ahead again.

use sunstar_packet::Buffer;
use sunstar_wire::{TcpFlags, WindowScale};

use super::script::{ACK, MSS, OURS, PLAIN, SYN, Script, arrives};
use crate::tcp::connection::Options;
use crate::tcp::test_stream::data;

/// Lengths of all that leaves now, and whether it is called urgent.
fn leaves(script: &mut Script) -> Vec<(u32, bool)> {
    core::iter::from_fn(|| script.connection.poll_transmit(script.now, 60_000))
        .map(|sent| (sent.len, sent.header.flags.contains(TcpFlags::URG)))
        .collect()
}

/// More than half of all numbers is sent, and at no time nothing is under way.
fn send_half_of_all_numbers(script: &mut Script) {
    const HALF: u32 = 1 << 31;
    let bulk = Buffer::from(vec![0; 60_000]);
    loop {
        let is_enough = script.connection.snd_nxt() - OURS > HALF + 10 * 60_000;
        while !is_enough && script.connection.sendable() >= 60_000 {
            script.connection.send(bulk.clone()).expect("there is room");
        }
        leaves(script);
        if is_enough && script.connection.unsent() == 0 {
            return;
        }
        script.now = script.now.after_micros(1_000);
        script.gets(arrives(ACK, 1, 0, script.connection.snd_nxt() - OURS - MSS));
    }
}

/// The ends of what went with the SYN and goes again, of urgent data, and of the last small segment.
#[test]
fn ends_that_are_acknowledged_are_forgotten() {
    let mut script = Script::new(Options { send_capacity: 4_000_000, ..PLAIN });
    script.connection.open_fast(None, data(1, 500), 500);
    assert_eq!(leaves(&mut script), [(500, false)]);
    script.gets(arrives(SYN | ACK, 0, 0, 1).options(|header| {
        header.options.mss = 1_000.try_into().ok();
        header.options.window_scale = Some(WindowScale::new(7));
    }));
    script.send(501, 100);
    script.connection.end_urgent();
    assert_eq!(leaves(&mut script), [(500, true), (100, true)]);
    send_half_of_all_numbers(&mut script);
    let mut sends = || {
        script.connection.send(data(1, 100)).expect("there is room");
        leaves(&mut script)
    };
    assert_eq!(sends(), [(100, false)], "no small one is under way, and nothing is urgent");
    assert_eq!(sends(), [], "one is under way that did not go before");
}

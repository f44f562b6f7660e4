use sunstar_wire::{Seq, TcpFlags, TcpHeader, TcpTimestamps};

use super::{DURATION, TimeWait, Verdict};
use crate::tcp::connection::Segment;
use crate::time::Instant;

const ENDED: Instant = Instant::from_micros(7_000_000);

fn time_wait(has_timestamps: bool) -> TimeWait {
    TimeWait {
        snd_nxt: Seq::new(100),
        rcv_nxt: Seq::new(200),
        ts_recent: 50,
        ts_offset: 3,
        has_timestamps,
        ends_at: ENDED + DURATION,
    }
}

fn gets(time_wait: &mut TimeWait, flags: TcpFlags, seq: u32, tsval: Option<u32>) -> Verdict {
    let mut header = TcpHeader { flags, seq: Seq::new(seq), ..TcpHeader::default() };
    header.options.timestamps = tsval.map(|tsval| TcpTimestamps { tsval, tsecr: 0 });
    time_wait.handle_segment(ENDED + DURATION / 2, &Segment { header, ..Segment::default() })
}

/// RFC 9293 §3.10.7.4: the end came again since our acknowledgement was lost; the time begins anew.
#[test]
fn answers_the_end_again() {
    let mut over = time_wait(true);
    let Verdict::Answer(header) = gets(&mut over, TcpFlags::FIN | TcpFlags::ACK, 199, Some(51)) else {
        panic!("no answer")
    };
    assert_eq!((header.flags, header.seq, header.ack), (TcpFlags::ACK, Seq::new(100), Seq::new(200)));
    assert_eq!(header.options.timestamps, Some(TcpTimestamps { tsval: 37_003, tsecr: 50 }));
    assert_eq!(over.deadline(), ENDED + DURATION / 2 + DURATION);
}

/// RFC 1337.
#[test]
fn resets_do_not_end_it() {
    assert_eq!(gets(&mut time_wait(true), TcpFlags::RST, 200, None), Verdict::Ignore);
}

/// RFC 6191: by the timestamp, and without timestamps by the number.
#[test]
fn newer_connections_may_have_the_ports() {
    for (has_timestamps, seq, tsval, is_newer) in
        [(true, 5, Some(51), true), (true, 5, Some(50), false), (false, 201, None, true), (false, 199, None, false)]
    {
        let verdict = gets(&mut time_wait(has_timestamps), TcpFlags::SYN, seq, tsval);
        assert_eq!(verdict == Verdict::Reopen, is_newer, "{seq} {tsval:?}");
    }
}

/// Two sides that are both over must not answer each other for ever.
#[test]
fn acknowledgements_are_not_answered() {
    assert_eq!(gets(&mut time_wait(true), TcpFlags::ACK, 200, Some(60)), Verdict::Ignore);
}

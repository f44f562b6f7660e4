//! What is held back, and what is told of a connection.

use core::time::Duration;

use super::script::{ACK, FIN, MSS, PLAIN, PSH, Script, arrives};
use crate::tcp::connection::{CaState, Options, State};

/// RFC 9293 §3.7.4 leaves it to the application: nothing but full segments leave, for 200 ms (tcp(7), `TCP_CORK`).
#[test]
fn corked_bytes_wait_to_be_a_segment() {
    let mut script = Script::established(PLAIN);
    script.connection.set_corked(true);
    script.send(1, 300);
    script.send(301, 300);
    assert_eq!(script.sent_data(), []);
    script.send(601, 900);
    assert_eq!(script.sent_data(), [(1, MSS)], "what is more than a segment waits");
    let (ms, sent) = script.next();
    assert_eq!((ms, sent[0].seq, sent[0].len), (200, 1_001, 500), "though nothing is acknowledged");
    script.send(1_501, 100);
    assert_eq!(script.sent_data(), []);
    script.connection.set_corked(false);
    assert_eq!(script.sent_data(), [(1_501, 100)]);
}

/// Of segments that leave as one the last is not smaller than if each left alone (RFC 9293 §3.7.4; tcp(7), `TCP_CORK`).
#[test]
fn the_end_of_a_burst_waits_as_it_would_alone() {
    let burst = |script: &mut Script| script.connection.poll_transmit(script.now, 60_000).map(|sent| sent.len);
    let plain = || Script::established(Options { burst_segments: 10, ..PLAIN });
    let mut script = plain();
    script.connection.set_corked(true);
    script.send(1, 2_500);
    assert_eq!([burst(&mut script), burst(&mut script)], [Some(2_000), None]);
    script.connection.set_corked(false);
    assert_eq!([burst(&mut script), burst(&mut script)], [Some(500), None]);
    script.send(2_501, 2_500);
    assert_eq!([burst(&mut script), burst(&mut script)], [Some(2_000), None], "a small one is under way");

    let mut script = plain();
    script.send(1, 2_500);
    assert_eq!([burst(&mut script), burst(&mut script)], [Some(2_500), None], "none is");
}

/// What ends the stream leaves with it.
#[test]
fn the_end_lifts_the_cork() {
    let mut script = Script::established(PLAIN);
    script.connection.set_corked(true);
    script.send(1, 10);
    assert_eq!(script.sent_data(), []);
    script.connection.close();
    let last = script.sent_one();
    assert_eq!((last.flags, last.len), (FIN | ACK | PSH, 10));
}

/// RFC 9293 §3.9.1.2: what is pushed waits for no more bytes, and no acknowledgement (§3.7.4).
#[test]
fn pushed_bytes_wait_for_nothing() {
    let mut script = Script::established(PLAIN);
    script.send(1, 10);
    assert_eq!(script.sent_data(), [(1, 10)]);
    script.send(11, 10);
    assert_eq!(script.sent_data(), []);
    script.connection.push_all();
    let pushed = script.sent_one();
    assert_eq!((pushed.seq, pushed.len, pushed.flags), (11, 10, ACK | PSH));
    script.send(21, 10);
    assert_eq!(script.sent_data(), [], "once");
    script.connection.set_options(Options { is_no_delay: true, ..PLAIN });
    assert_eq!(script.sent_data(), [(21, 10)]);
    script.connection.set_corked(true);
    script.send(31, 10);
    assert_eq!(script.sent_data(), []);
    script.connection.push_all();
    assert_eq!(script.sent_data(), [(31, 10)]);
    // Into a closed window nothing is pushed.
    script.gets(arrives(ACK, 1, 0, 41).window(0));
    script.send(41, 10);
    script.connection.push_all();
    assert_eq!(script.sent_data(), []);
    script.gets(arrives(ACK, 1, 0, 41).window(1_000));
    assert_eq!(script.sent_data(), [(41, 10)]);
}

/// Who lingers waits until all is acknowledged, the end of the stream too.
#[test]
fn drained_is_what_the_other_side_has_acknowledged() {
    let mut script = Script::established(PLAIN);
    script.send(1, 10);
    script.connection.close();
    script.sent();
    assert!(!script.connection.is_drained());
    script.gets(arrives(ACK, 1, 0, 11));
    assert!(!script.connection.is_drained());
    script.gets(arrives(ACK, 1, 0, 12));
    assert!(script.connection.is_drained());
}

/// RFC 9293 §3.6: a stream that nobody reads is not waited for for ever.
#[test]
fn who_was_let_go_does_not_wait_for_ever() {
    let mut script = Script::established(PLAIN);
    script.connection.close();
    script.connection.let_go(script.now);
    script.sent();
    script.gets(arrives(ACK, 1, 0, 2));
    assert_eq!(script.connection.state(), State::FinWait2);
    script.wait(30_000);
    script.gets(arrives(ACK, 1, 0, 2));
    script.wait(29_999);
    assert_eq!(script.connection.state(), State::FinWait2);
    script.wait(1);
    assert_eq!(script.connection.state(), State::Closed);
}

/// RFC 9293 §3.8.6.1 asks to probe a closed window for ever: for an application, not for nobody.
#[test]
fn who_was_let_go_does_not_probe_for_ever() {
    let mut script = Script::established(PLAIN);
    script.gets(arrives(ACK, 1, 0, 1).window(0));
    script.send(1, 10);
    script.connection.close();
    script.connection.let_go(script.now);
    assert_eq!(script.sent(), []);
    for probe in 0..8 {
        assert!(!script.connection.is_abandoned(script.now), "{probe}");
        script.next();
        script.gets(arrives(ACK, 1, 0, 1).window(0));
    }
    let deadline = script.connection.deadline().expect("it probes");
    assert!(script.connection.is_abandoned(deadline) && !script.connection.is_abandoned(script.now));
    assert!(deadline - script.now < Duration::from_secs(120));
}

/// The names are those of `struct tcp_info` of Linux.
#[test]
fn info_tells_what_is_known() {
    let mut script = Script::established(Options { offers_timestamps: false, ..PLAIN });
    let info = script.connection.info(script.now);
    assert_eq!(
        (info.state, info.ca_state, info.has_sack, info.has_timestamps),
        (State::Established, CaState::Open, true, false)
    );
    assert_eq!((info.snd_mss, info.advmss, info.snd_cwnd, info.snd_ssthresh), (MSS, MSS, 10, u32::MAX));
    assert_eq!((info.rtt, info.rttvar), (Duration::from_millis(100), Duration::from_millis(50)));
    assert_eq!((info.segs_out, info.segs_in, info.bytes_acked, info.snd_wnd), (2, 1, 0, 60_000));
    script.send(1, 12_500);
    script.sent();
    script.wait(100);
    script.gets(arrives(ACK, 1, 70, 1).sack(&[(1_001, 3_001)]));
    let info = script.connection.info(script.now);
    assert_eq!((info.unacked, info.sacked, info.lost, info.ca_state), (10, 2, 0, CaState::Disorder));
    assert_eq!((info.bytes_received, info.notsent_bytes, info.last_data_sent), (70, 2_500, Duration::from_millis(100)));
    script.gets(arrives(ACK, 71, 0, 1).sack(&[(1_001, 5_001)]));
    let info = script.connection.info(script.now);
    assert_eq!((info.lost, info.ca_state), (1, CaState::Recovery));
    script.sent();
    let info = script.connection.info(script.now);
    assert_eq!((info.lost, info.retrans, info.total_retrans), (1, 1, 1));
    script.gets(arrives(ACK, 71, 0, 10_001));
    let info = script.connection.info(script.now);
    assert_eq!((info.lost, info.bytes_acked, info.retransmits), (0, 10_000, 0));
    assert_eq!((info.bytes_sent, info.bytes_retrans), (12_000, 1_000));
    assert_eq!((info.data_segs_out, info.data_segs_in, info.dsack_dups), (12, 1, 0));
    script.gets(arrives(ACK, 71, 0, 10_001).sack(&[(1, 1_001)]));
    assert_eq!(script.connection.info(script.now).dsack_dups, 1);
    assert_eq!(info.min_rtt, Some(Duration::from_millis(100)));
}

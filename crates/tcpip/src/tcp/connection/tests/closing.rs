//! RFC 9293 §3.6.

use super::script::{ACK, FIN, PLAIN, RST, Script, arrives};
use crate::tcp::connection::{SendError, State};
use crate::tcp::test_stream::data;

/// RFC 9293 §3.6.1, figure 12, seen by who closes first.
#[test]
fn closes_first() {
    let mut script = Script::established(PLAIN);
    script.connection.close();
    let fin = script.sent_one();
    assert_eq!((fin.flags, fin.seq, script.connection.state()), (FIN | ACK, 1, State::FinWait1));
    assert!(matches!(script.connection.send(data(1, 1)), Err(SendError::Closed)));
    script.gets(arrives(ACK, 1, 0, 2));
    assert_eq!(script.connection.state(), State::FinWait2);
    script.gets(arrives(ACK, 1, 50, 2));
    assert_eq!((script.sent_one().ack, script.received(1)), (51, 50));
    script.gets(arrives(FIN | ACK, 51, 0, 2));
    assert_eq!((script.sent_one().ack, script.connection.state()), (52, State::TimeWait));
    assert!(script.connection.is_at_end());
}

/// The same, seen by the other side.
#[test]
fn closes_second() {
    let mut script = Script::established(PLAIN);
    script.gets(arrives(FIN | ACK, 1, 20, 1));
    assert_eq!((script.sent_one().ack, script.connection.state()), (22, State::CloseWait));
    assert_eq!((script.received(1), script.connection.is_at_end()), (20, true));
    script.send(1, 30);
    script.connection.close();
    let last = script.sent_one();
    assert_eq!((last.flags.contains(FIN), last.len, script.connection.state()), (true, 30, State::LastAck));
    script.gets(arrives(ACK, 22, 0, 32));
    assert_eq!((script.connection.state(), script.connection.failure()), (State::Closed, None));
}

/// What was under way is forgotten, and can still be asked for.
#[test]
fn a_reset_after_the_end_of_the_stream_can_be_looked_at() {
    let mut script = Script::established(PLAIN);
    script.send(1, 30);
    script.connection.close();
    script.sent();
    assert_eq!(script.connection.info(script.now).bytes_sent, 30);
    script.gets(arrives(RST, 1, 0, 0));
    let info = script.connection.info(script.now);
    assert_eq!((script.connection.state(), info.unacked, info.bytes_acked), (State::Closed, 0, 0));
}

/// RFC 9293 §3.6.1, figure 13.
#[test]
fn both_close_at_once() {
    let mut script = Script::established(PLAIN);
    script.connection.close();
    script.sent_one();
    script.gets(arrives(FIN | ACK, 1, 0, 1));
    assert_eq!((script.sent_one().ack, script.connection.state()), (2, State::Closing));
    script.gets(arrives(ACK, 2, 0, 2));
    assert_eq!(script.connection.state(), State::TimeWait);
}

/// The end waits for what is missing before it.
#[test]
fn end_waits_for_the_gap() {
    let mut script = Script::established(PLAIN);
    script.gets(arrives(FIN | ACK, 51, 50, 1));
    assert_eq!((script.sent_one().ack, script.connection.state()), (1, State::Established));
    script.gets(arrives(ACK, 1, 50, 1));
    assert_eq!((script.sent_one().ack, script.connection.state()), (102, State::CloseWait));
    assert_eq!(script.received(1), 100);
}

/// A lost end is sent again like data.
#[test]
fn end_is_sent_again() {
    let mut script = Script::established(PLAIN);
    script.connection.close();
    script.sent_one();
    let (_, again) = script.next();
    assert_eq!((again[0].flags.contains(FIN), again[0].seq), (true, 1));
    script.gets(arrives(ACK, 1, 0, 2));
    assert_eq!((script.connection.state(), script.connection.deadline()), (State::FinWait2, None));
}

#[test]
fn abort_tells_the_other_side() {
    let mut script = Script::established(PLAIN);
    script.send(1, 10);
    assert!(script.connection.reset(script.now).is_some());
    assert_eq!((script.connection.state(), script.sent()), (State::Closed, vec![]));
    let mut script = Script::new(PLAIN);
    assert!(script.connection.reset(script.now).is_none(), "nobody knows of it");
}

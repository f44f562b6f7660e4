//! RFC 9293 §3.5.

use super::script::{ACK, MSS, PLAIN, RST, SYN, Script, arrives};
use crate::tcp::connection::tests::script::Sent;
use crate::tcp::connection::{Failure, Options, Reply, State};
use sunstar_wire::WindowScale;

/// RFC 9293 §3.5, figure 6.
#[test]
fn opens() {
    let mut script = Script::new(PLAIN);
    let syn = script.sent_one();
    assert_eq!((syn.flags, syn.seq, script.connection.state()), (SYN, 0, State::SynSent));
    script.gets(arrives(SYN | ACK, 0, 0, 1));
    let ack = script.sent_one();
    assert_eq!((ack.flags, ack.seq, ack.ack, script.connection.state()), (ACK, 1, 1, State::Established));
    assert_eq!(script.connection.deadline(), None);
}

/// RFC 6298 §2.1 and §5.5: after a second, then twice as long each time; six more, and it is given up.
#[test]
fn asks_again_and_gives_up() {
    let mut script = Script::new(PLAIN);
    script.sent_one();
    for seconds in [1, 2, 4, 8, 16, 32] {
        let (ms, sent) = script.next();
        assert_eq!((ms, sent[0].flags, sent.len()), (seconds * 1_000, SYN, 1));
    }
    script.wait(64_000);
    assert_eq!((script.connection.state(), script.connection.failure()), (State::Closed, Some(Failure::TimedOut)));
}

/// RFC 9293 §3.10.7.3: a reset counts if it acknowledges the SYN.
#[test]
fn is_refused() {
    let mut script = Script::new(PLAIN);
    script.sent_one();
    script.gets(arrives(RST, 0, 0, 0));
    script.gets(arrives(RST | ACK, 0, 0, 9));
    assert_eq!(script.connection.state(), State::SynSent);
    script.gets(arrives(RST | ACK, 0, 0, 1));
    assert_eq!((script.connection.state(), script.connection.failure()), (State::Closed, Some(Failure::Refused)));
}

/// RFC 9293 §3.10.7.3: who acknowledges what was not sent has an old connection in mind, and is told.
#[test]
fn resets_old_connections() {
    let mut script = Script::new(PLAIN);
    script.sent_one();
    let reply = script.gets_reply(arrives(ACK, 700, 0, 300));
    assert!(matches!(reply, Reply::Reset(_)));
    assert_eq!(script.connection.state(), State::SynSent);
}

/// Having been told, it answers the next SYN. Who goes on does not make us ask more often.
#[test]
fn asks_again_soon_those_who_had_another_one_in_mind() {
    let mut script = Script::new(PLAIN);
    script.sent_one();
    for expected in [10, 2_000, 4_000] {
        assert!(matches!(script.gets_reply(arrives(ACK, 700, 0, 300)), Reply::Reset(_)));
        let (ms, sent) = script.next();
        assert_eq!((ms, sent[0].flags, sent.len()), (expected, SYN, 1));
    }
    script.gets(arrives(SYN | ACK, 0, 0, 1));
    assert_eq!((script.sent_one().flags, script.connection.state()), (ACK, State::Established));
}

/// Who may ask once only waits as long as ever: what a stranger sends takes no time from it.
#[test]
fn no_question_is_taken_by_those_who_had_another_one_in_mind() {
    let mut script = Script::new(Options { syn_retries: 0, ..PLAIN });
    script.sent_one();
    assert!(matches!(script.gets_reply(arrives(ACK, 700, 0, 300)), Reply::Reset(_)));
    script.wait(999);
    assert_eq!(script.connection.state(), State::SynSent);
    script.wait(1);
    assert_eq!((script.connection.state(), script.connection.failure()), (State::Closed, Some(Failure::TimedOut)));
}

/// RFC 9293 §3.5, figure 7.
#[test]
fn opens_from_both_sides_at_once() {
    let mut script = Script::new(PLAIN);
    script.sent_one();
    script.gets(arrives(SYN, 0, 0, 0));
    let answer = script.sent_one();
    assert_eq!(
        (answer.flags, answer.seq, answer.ack, script.connection.state()),
        (SYN | ACK, 0, 1, State::SynReceived)
    );
    script.gets(arrives(SYN | ACK, 0, 0, 1).options(|header| header.options.is_sack_permitted = true));
    assert_eq!(script.connection.state(), State::Established);
}

/// RFC 2883 §4: a SYN that comes twice is a duplicate as well.
#[test]
fn a_syn_that_comes_again_is_told() {
    let mut script = Script::new(PLAIN);
    script.sent_one();
    script.gets(arrives(SYN, 0, 0, 0).options(|header| header.options.is_sack_permitted = true));
    script.sent_one();
    script.gets(arrives(SYN | ACK, 0, 0, 1));
    assert_eq!(script.sent_one().sack, [(0, 1)]);
}

/// RFC 7323 §2.2: windows are shifted if both sides say so, but not those of SYNs.
#[test]
fn agrees_on_shifts() {
    let window_after = |shift: Option<u8>| {
        let mut script = Script::new(Options { receive_capacity: 1 << 20, ..PLAIN });
        assert_eq!(script.sent_one().window, 0xffff);
        script.gets(arrives(SYN | ACK, 0, 0, 1).window(100).options(|header| {
            header.options.window_scale = shift.map(WindowScale::new);
            header.options.mss = 1_000.try_into().ok();
        }));
        let window = script.sent_one().window;
        script.send(1, 10_000);
        let before: u32 = script.sent_data().iter().map(|(_, len)| len).sum();
        script.gets(arrives(ACK, 1, 0, 1).window(100));
        let after: u32 = script.sent_data().iter().map(|(_, len)| len).sum();
        (window, before, after)
    };
    assert_eq!(window_after(None), (0xffff, 100, 0));
    assert_eq!(window_after(Some(4)), ((1 << 20) >> 5, 100, 1_000));
}

/// RFC 9293 §3.7.1: who does not say takes 536 bytes; nobody gets more than our own path takes; options count.
#[test]
fn agrees_on_the_segment_size() {
    let largest = |options: Options, mss: u16| {
        let mut script = Script::new(options);
        script.sent_one();
        script.gets(
            arrives(SYN | ACK, 0, 0, 1).timestamps(7, 0).options(|header| header.options.mss = mss.try_into().ok()),
        );
        script.sent_one();
        script.send(1, 5_000);
        script.sent()[0].len
    };
    assert_eq!(largest(PLAIN, 0), 536);
    assert_eq!(largest(PLAIN, 700), 700);
    assert_eq!(largest(PLAIN, 9_000), MSS);
    assert_eq!(largest(Options { offers_timestamps: true, ..PLAIN }, 700), 688);
    // Less than anybody needs: half of ten segments leave as one burst.
    assert_eq!(largest(PLAIN, 1), 5 * 48);
    assert_eq!(largest(Options { offers_timestamps: true, ..PLAIN }, 1), 5 * 36);
}

/// RFC 7413 aside, data that come with the answer count.
#[test]
fn takes_data_with_the_answer() {
    let mut script = Script::new(PLAIN);
    script.sent_one();
    script.gets(arrives(SYN | ACK, 0, 0, 1));
    script.gets(arrives(ACK, 1, 10, 1));
    assert_eq!(script.sent_one().ack, 11);
    assert_eq!(script.received(1), 10);
}

/// RFC 5961 §4: a SYN in the window is answered by where we are.
#[test]
fn challenges_a_syn() {
    let mut script = Script::established(PLAIN);
    script.gets(arrives(SYN, 5, 0, 0));
    let Sent { flags, seq, ack, .. } = script.sent_one();
    assert_eq!((flags, seq, ack, script.connection.state()), (ACK, 1, 1, State::Established));
}

/// RFC 7323 §3.2: who answers echoes our timestamp; an answer with another one belongs to another connection.
#[test]
fn an_answer_with_another_ones_timestamp_is_reset() {
    let mut script = Script::new(Options { offers_timestamps: true, ..PLAIN });
    script.sent();
    script.wait(100);
    let answer = |tsecr| arrives(SYN | ACK, 0, 0, 1).timestamps(1_000, tsecr);
    assert_ne!(script.gets_reply(answer(9_999)), Reply::None);
    assert_eq!(script.connection.state(), State::SynSent);
    script.gets(answer(5_000));
    assert_eq!(script.connection.state(), State::Established);
}

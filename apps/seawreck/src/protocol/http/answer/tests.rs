use proptest::prelude::*;

use super::*;

/// The ends of answers in bytes that come in pieces of this length, with the status, and whether the connection stays.
fn ends(bytes: &[u8], piece_bytes: usize, is_head: bool) -> Result<Vec<(usize, u16, bool)>, Fault> {
    let (mut answer, mut known, mut ends) = (Answer::new(is_head), Known::default(), Vec::new());
    let mut begin = 0;
    for piece in bytes.chunks(piece_bytes) {
        let mut at = 0;
        while at < piece.len() {
            let Some(end) = answer.take(&piece[at..], &mut known)? else { break };
            at += end;
            ends.push((begin + at, answer.status(), answer.keeps_alive()));
        }
        begin += piece.len();
    }
    Ok(ends)
}

const KEPT: &str = "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\nhello";
const EMPTY: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nConnection: x, Close\r\n\r\n";
const NONE: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const INTERIM: &str = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx";
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n00a;x=\"y\"\r\n0123456789\r\n0\r\nA: b\r\n\r\n";
const OLD: &str = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";
const OLD_KEPT: &str = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok";

proptest! {
    #[test]
    fn ends_are_found_however_the_bytes_are_cut(
        answers in prop::collection::vec(prop::sample::select(vec![KEPT, EMPTY, NONE, INTERIM, CHUNKED, OLD, OLD_KEPT]), 1..8),
        piece_bytes in 1_usize..200,
    ) {
        let mut expected = Vec::new();
        let mut end = 0;
        for &answer in &answers {
            end += answer.len();
            let status = match answer { EMPTY => 404, NONE => 204, INTERIM => 201, _ => 200 };
            expected.push((end, status, answer != EMPTY && answer != OLD));
        }
        prop_assert_eq!(ends(answers.concat().as_bytes(), piece_bytes, false), Ok(expected));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), piece_bytes in 1_usize..50) {
        let _ = ends(&[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &bytes[..]].concat(), piece_bytes, false);
        let _ = ends(&bytes, piece_bytes, false);
    }
}

#[test]
fn answers_to_head_have_no_body() {
    let head = &KEPT[..KEPT.len() - 5];
    assert_eq!(
        ends(head.repeat(2).as_bytes(), 7, true),
        Ok(vec![(head.len(), 200, true), (2 * head.len(), 200, true)])
    );
}

#[test]
fn a_body_without_length_ends_with_the_connection() {
    let mut answer = Answer::new(false);
    assert_eq!(answer.take(b"HTTP/1.1 200 OK\r\n\r\nhello", &mut Known::default()), Ok(None));
    assert!(answer.ends_with_connection() && !answer.keeps_alive());
    let mut answer = Answer::new(false);
    assert_eq!(answer.take(&KEPT.as_bytes()[..KEPT.len() - 1], &mut Known::default()), Ok(None));
    assert!(!answer.ends_with_connection());
}

#[test]
fn what_is_no_answer_is_refused() {
    for bytes in [
        "hello\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1111111111111111\r\n",
    ] {
        for piece_bytes in [1, 1000] {
            assert_eq!(ends(bytes.as_bytes(), piece_bytes, false), Err(Fault::BadAnswer), "{bytes}");
        }
    }
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(MAX_HEAD_BYTES));
    assert_eq!(ends(endless.as_bytes(), 4096, false), Err(Fault::BadAnswer));
}

#[test]
fn a_head_that_is_the_same_is_known_and_any_other_one_is_not() {
    let mut known = Known::default();
    let mut parsed = |text: &str| {
        let head = known.parse(text.as_bytes());
        assert_eq!(head, parse(text.as_bytes()), "{text}");
        known.bytes.len()
    };
    let head_bytes = KEPT.len() - 5;
    assert_eq!(parsed(KEPT), head_bytes);
    assert_eq!(parsed(&KEPT.replace("hello", "HELLO")), head_bytes);
    // What is no head, or none yet, is not remembered.
    assert_eq!(parsed(&KEPT[..head_bytes - 1]), head_bytes);
    assert_eq!(parsed("hello\r\n\r\n"), head_bytes);
    assert_eq!(parsed(&KEPT.replace(": 5", ": 6")), head_bytes);
    assert_eq!(parsed(&KEPT.replace("200", "404")), head_bytes);
    assert_eq!(parsed(NONE), NONE.len());
    let long = KEPT.replace("Server: x", &format!("Server: {}", "x".repeat(MAX_KNOWN_BYTES)));
    assert_eq!((parsed(&long), parsed(KEPT)), (NONE.len(), head_bytes));
}

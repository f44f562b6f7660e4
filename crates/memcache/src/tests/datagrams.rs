//! Datagrams: what is a request, and how an answer is cut.

use proptest::collection::vec;
use proptest::prelude::*;
use sunstar_packet::Buffer;

use super::frames::check_datagram;
use crate::{MAX_DATAGRAM_BYTES, MAX_DATAGRAM_REPLY_BYTES, RequestId, RetrievalCommand, single_get};

#[test]
fn a_request_is_one_datagram() {
    assert!(RequestId::of(&[1, 2, 0, 0, 0, 1, 0, 0]).is_none(), "it asks for nothing");
    assert!(RequestId::of(b"get a\r\n").is_none());
    let id = RequestId::of(&[1, 2, 9, 9, 0, 1, 9, 9, b'x']).expect("the others don't matter");
    assert_eq!(id.header(0, 1), [1, 2, 0, 0, 0, 1, 0, 0]);
    for count in [0, 2, 256] {
        let [high, low] = u16::to_be_bytes(count);
        assert!(RequestId::of(&[1, 2, 0, 0, high, low, 0, 0, b'x']).is_none(), "it has {count} parts");
    }
}

#[test]
fn an_answer_is_cut_where_datagrams_end() {
    let id = RequestId::of(&[0, 7, 0, 0, 0, 1, 0, 0, b'x']).expect("it is a request");
    let frames = |len: usize| id.frames(&[Buffer::from(vec![b'y'; len])]).collect::<Vec<_>>();
    for (len, count) in [(0, 0), (1, 1), (MAX_DATAGRAM_BYTES - 8, 1), (MAX_DATAGRAM_BYTES - 7, 2), (5000, 4)] {
        assert_eq!(frames(len).len(), count, "{len} bytes");
    }
    assert_eq!(frames(MAX_DATAGRAM_REPLY_BYTES).len(), usize::from(u16::MAX));
    assert_eq!(frames(MAX_DATAGRAM_REPLY_BYTES + 1).len(), 0);
    assert!([MAX_DATAGRAM_REPLY_BYTES + 1, usize::MAX].iter().all(|len| RequestId::frames_bytes(*len).is_none()));
}

#[test]
fn what_gets_one_item_is_told_from_all_else() {
    let datagram = |text: &str| [&[0, 7, 0, 0, 0, 1, 0, 0], text.as_bytes()].concat();
    assert_eq!(single_get(&datagram("get a\r\n")), Some((RetrievalCommand::GET, &b"a"[..])));
    assert_eq!(single_get(&datagram("gets  a  \r\n")), Some((RetrievalCommand::GETS, &b"a"[..])));
    let long = format!("get {}\r\n", "k".repeat(251));
    for text in ["get a b\r\n", "get a", "get a\n", "get \r\n", "get\r\n", "gat 0 a\r\n", "get a\r\nget b\r\n", &long] {
        assert!(single_get(&datagram(text)).is_none(), "{text:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn property_any_datagram_is_seen_alike(
        header in (any::<[u8; 4]>(), prop_oneof![3 => Just([0, 1]), 1 => any::<[u8; 2]>()], any::<[u8; 2]>()),
        words in vec(prop::sample::select(&["get ", "gets ", "a", " ", "key", "\r\n", "\n", "x", "set "][..]), 0..6),
        long in prop_oneof![4 => Just(0_usize), 1 => 245..260_usize, 1 => 1000..3000_usize],
        is_ended in any::<bool>(),
    ) {
        let (front, count, back) = header;
        let text = words.concat() + &"k".repeat(long) + if is_ended { "\r\n" } else { "" };
        check_datagram(&[&front[..], &count, &back, text.as_bytes()].concat());
    }
}

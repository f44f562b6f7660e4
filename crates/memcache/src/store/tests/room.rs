//! Who makes room for whom: values that somebody still has, items that grow, and how much is done at a time.

use super::*;
use crate::{ITEM_OVERHEAD_BYTES, ListForm};

/// A reference to a large value, as an answer has it.
fn lent(store: &mut Store, name: &str) -> Value {
    match store.get(key(name.as_bytes()), START).expect("it is there").value {
        FoundValue::Large(value) => value.clone(),
        FoundValue::Small(_) => panic!("it was copied"),
    }
}

fn extend(store: &mut Store, verb: StorageVerb, name: &str, bytes: &[u8]) -> Stored {
    store.store(verb, key(name.as_bytes()), 0, Expiry::NEVER, &value(bytes), START)
}

#[test]
fn values_count_for_the_cap_until_the_last_answer_lets_go() {
    let mut store = store_of(4 << 20);
    let (mut held, mut refused) = (Vec::new(), 0);
    for turn in 0..40_u8 {
        match set(&mut store, "a", &vec![turn; 200_000], START) {
            Stored::Stored(_) => held.push(lent(&mut store, "a")),
            Stored::NoMemory => refused += 1,
            other => panic!("{other:?}"),
        }
        store.check();
    }
    assert!(refused > 0 && held.len() > 10, "{} are held, {refused} were refused", held.len());
    assert_eq!(store.counters().no_memory, refused);
    let figures = store.figures();
    assert!(figures.held_bytes >= (held.len() - 1) * 200_000, "{figures:?}");
    assert!(held.iter().enumerate().all(|(turn, value)| value.to_vec() == [u8::try_from(turn).unwrap(); 200_000]));
    drop(held);
    assert_eq!(store.figures().held_bytes, 0);
    assert!(matches!(set(&mut store, "a", &[1; 200_000], START), Stored::Stored(_)));
    store.check();
}

/// A piece of a value that was cut, as the last of an answer that is being sent, keeps its memory.
#[test]
fn a_part_of_a_value_counts_for_its_piece() {
    let mut store = store_of(4 << 20);
    set(&mut store, "a", &[1; 200_000], START);
    let part = lent(&mut store, "a").pieces()[0].slice(10..20);
    store.delete(key(b"a"), START);
    let held = store.figures().held_bytes;
    assert!((65_536..67_000).contains(&held), "{held}");
    drop(part);
    assert_eq!(store.figures().held_bytes, 0);
}

#[test]
fn what_would_free_nothing_does_not_go() {
    let mut store = store_of(4 << 20);
    set(&mut store, "wanted", &[1; 100_000], START);
    let answer = lent(&mut store, "wanted");
    for number in 0..200 {
        assert!(matches!(set(&mut store, &format!("{number}"), &[2; 100_000], START + 1), Stored::Stored(_)));
    }
    store.check();
    assert!(store.counters().passed_over > 0 && store.counters().evictions > 100);
    let (_, large) = store.classes(START).last().expect("there are large values");
    assert_eq!(large.moves.to_hot, store.counters().passed_over);
    assert!(get(&mut store, "wanted", START + 1).is_some(), "its memory would not be free");
    drop(answer);
    // It was asked for twice, so it is warm for a while.
    for number in 0..400 {
        set(&mut store, &format!("{number}"), &[2; 100_000], START + 2);
    }
    store.check();
    assert!(store.free_memory(4 << 20, START + 3) > 3 << 20 && get(&mut store, "wanted", START + 3).is_none());
}

/// Lines tell keys as they are, so they tell only those that lines can have.
#[test]
fn keys_that_are_no_words_are_not_told_in_lines() {
    let mut store = store_of(1 << 20);
    store.count_prefixes(true);
    for name in ["b:1", "c\r\nITEM d:1", " :1", "\u{7f}:1"] {
        set(&mut store, name, b"x", START);
    }
    let mut told = Vec::new();
    for class in 0..=store.slabs.classes() {
        let is_all = store.dump(class, 4, START, |key, _, _| {
            told.push(key.to_vec());
            true
        });
        assert!(is_all, "there are no more than four");
    }
    let class = (0..store.slabs.classes()).find(|class| !store.dump(*class, 0, START, |_, _, _| true));
    let class = class.expect("one has items");
    // Those that are not shown take time as well.
    let mut shown = 0;
    let is_all = store.dump(class, 3, START, |_, _, _| {
        shown += 1;
        true
    });
    assert_eq!((is_all, shown), (false, 0), "the oldest is the only word");
    assert_eq!(told, [b"b:1"]);
    assert!(store.prefixes().map(|(prefix, _)| prefix).eq([b"b"]));
    let mut text = Vec::new();
    assert_eq!(store.list(None, (ListForm::Requests, u64::MAX), START, &mut text), Some(0));
    let mut lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    lines.sort_unstable();
    let coded: [&[u8]; 4] = [b"mg IDox b\r\n", b"mg Yw0KSVRFTSBkOjE= b\r\n", b"mg b:1\r\n", b"mg fzox b\r\n"];
    assert_eq!(lines, coded);
    assert_eq!(store.list(Some(0), (ListForm::Facts, u64::MAX), START, &mut text), None);
}

#[test]
fn what_grows_has_a_limit_and_stays_as_it_was_beyond_it() {
    let mut store = store_of(4 << 20);
    store.set_item_limit(100_000);
    let room = 100_000 - ITEM_OVERHEAD_BYTES - 1;
    for verb in [StorageVerb::Append, StorageVerb::Prepend] {
        set(&mut store, "a", &vec![7; room - 10], START);
        assert!(matches!(extend(&mut store, verb, "a", &[7; 10]), Stored::Stored(_)));
        assert_eq!(extend(&mut store, verb, "a", &[7]), Stored::NotStored);
        assert_eq!(get(&mut store, "a", START).expect("it stays").len(), room);
    }
    assert_eq!(store.counters().too_large, 2);
    assert_eq!(extend(&mut store, StorageVerb::Replace, "a", &vec![1; room + 1]), Stored::TooLarge);
    assert!(get(&mut store, "a", START).is_some());
    assert_eq!(extend(&mut store, StorageVerb::Set, "a", &vec![1; room + 1]), Stored::TooLarge);
    assert!(get(&mut store, "a", START).is_none(), "an old value would be wrong");
    store.check();
}

/// The old value is there until the new one has room.
#[test]
fn what_finds_no_memory_to_grow_stays_as_it_was() {
    let mut store = store_of(4 << 20);
    set(&mut store, "a", &[1; 300_000], START);
    let answer = lent(&mut store, "a");
    store.lend(3_600_000);
    for (verb, answer) in [
        (StorageVerb::Append, Stored::NotStored),
        (StorageVerb::Prepend, Stored::NotStored),
        (StorageVerb::Replace, Stored::NoMemory),
    ] {
        assert_eq!(extend(&mut store, verb, "a", &[2; 300_000]), answer, "{verb:?}");
        assert_eq!(get(&mut store, "a", START).expect("it stays"), [1; 300_000]);
    }
    assert_eq!(store.counters().no_memory, 3);
    drop(answer);
    store.lend(0);
    assert!(matches!(extend(&mut store, StorageVerb::Append, "a", &[2; 300_000]), Stored::Stored(_)));
    assert_eq!(get(&mut store, "a", START).expect("it is there"), [[1; 300_000], [2; 300_000]].concat());
    store.check();
}

/// Whoever adds a line to a long log again and again does not copy the log.
#[test]
fn a_value_grows_without_being_copied() {
    let mut store = store_of(16 << 20);
    set(&mut store, "log", &[0; 1 << 20], START);
    let first = lent(&mut store, "log");
    extend(&mut store, StorageVerb::Append, "log", &[1; 100]);
    extend(&mut store, StorageVerb::Prepend, "log", &[2; 100]);
    let grown = lent(&mut store, "log");
    let places = |value: &Value| value.pieces().iter().map(|piece| piece.as_ptr()).collect::<BTreeSet<_>>();
    assert_eq!(places(&grown).intersection(&places(&first)).count(), 16);
    assert_eq!(grown.to_vec(), [&[2; 100][..], &[0; 1 << 20], &[1; 100]].concat());
    drop(first);
    assert_eq!(store.figures().held_bytes, 0, "nothing but the value that is there is left");
}

#[test]
fn room_for_a_large_value_is_made_step_by_step() {
    let mut store = store_of(16 << 20);
    for number in 0..100_000 {
        set(&mut store, &format!("{number:010}"), &[1; 100], START);
    }
    let (items_per_page, mut steps) = (65_536 / 144, 1);
    let mut before = store.figures().items;
    while !store.prepare(6 << 20, START + 1) {
        let items = store.figures().items;
        assert!(before - items <= 4 * items_per_page, "{} items have gone at a time", before - items);
        (before, steps) = (items, steps + 1);
    }
    assert!(steps > 10, "{steps} steps");
    let evictions = store.counters().evictions;
    assert!(matches!(set(&mut store, "large", &vec![1; 6 << 20], START + 1), Stored::Stored(_)));
    assert!(store.counters().evictions - evictions <= 2 * items_per_page as u64, "the room was there");
    assert!(store.prepare(12 << 20, START + 1), "nobody waits for what will be refused");
    store.check();
}

/// When much memory is lost at once, who stores something small pays for no more than a page.
#[test]
fn a_small_value_waits_for_one_page_at_most() {
    let mut store = store_of(16 << 20);
    for number in 0..100_000 {
        set(&mut store, &format!("{number:010}"), &[1; 100], START);
    }
    store.lend(12 << 20);
    for number in 0..200 {
        let before = store.counters().evictions;
        let size = [100, 3000][number % 2];
        assert!(matches!(set(&mut store, &format!("x{number}"), &vec![2; size], START + 100), Stored::Stored(_)));
        assert!(store.counters().evictions - before <= 500, "{}", store.counters().evictions - before);
    }
}

/// Pages of sizes of which nothing is left are not lost to the others.
#[test]
fn empty_pages_are_memory_for_others() {
    let mut store = store_of(2 << 20);
    set(&mut store, "stays", &[1; 100], START);
    for size in (0..4000).step_by(100) {
        set(&mut store, "a", &vec![1; size], START + 1);
        store.check();
    }
    store.delete(key(b"a"), START + 1);
    let before = store.figures();
    assert!(before.memory_bytes > 1 << 20, "{before:?}");
    assert!(matches!(set(&mut store, "large", &[1; 1_000_000], START + 1), Stored::Stored(_)));
    assert_eq!(store.counters().evictions, 0);
    assert!(get(&mut store, "stays", START + 1).is_some());
    store.check();
}

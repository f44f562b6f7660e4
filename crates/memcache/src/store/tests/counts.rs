//! What counts as what, as memcached has it.

use super::*;
use crate::meta::{MetaCommand, MetaVerb};

/// A store with a number and a text.
fn prepared() -> Store {
    let mut store = store_of(8 << 20);
    set(&mut store, "number", b"5", START);
    set(&mut store, "text", b"x", START);
    store
}

fn count(store: &mut Store, direction: Direction, name: &[u8]) -> Counted {
    store.count(direction, key(name), 1, START)
}

#[test]
fn what_is_no_number_is_not_counted() {
    let mut store = prepared();
    for direction in [Direction::Increment, Direction::Decrement] {
        assert_eq!(count(&mut store, direction, b"text"), Counted::NotANumber);
        assert!(matches!(count(&mut store, direction, b"number"), Counted::Number(_)));
        assert_eq!(count(&mut store, direction, b"none"), Counted::NotFound);
    }
    let StoreCounters { incr_hits, incr_misses, decr_hits, decr_misses, .. } = *store.counters();
    assert_eq!([incr_hits, incr_misses, decr_hits, decr_misses], [1; 4]);
    let (_, figures) = store.classes(START).next().expect("there are items");
    assert_eq!((figures.counters.incr_hits, figures.counters.decr_hits), (1, 1));
}

#[test]
fn a_number_that_begins_is_not_missed() {
    let mut store = prepared();
    let begin =
        MetaCommand { vivify: Some(100), initial: 7, ..MetaCommand::new(MetaVerb::Count(Direction::Increment)) };
    store.meta_count(&begin, Direction::Increment, key(b"new"), START);
    assert_eq!(get(&mut store, "new", START), Some(b"7".to_vec()));
    assert_eq!((store.counters().incr_misses, store.counters().incr_hits), (0, 0));
}

#[test]
fn what_touches_is_no_get() {
    let mut store = prepared();
    for name in [&b"text"[..], b"none"] {
        store.get_and_touch(key(name), Expiry::NEVER, START);
        store.touch(key(name), Expiry::NEVER, START);
    }
    let touch = MetaCommand { exptime: Some(100), ..MetaCommand::new(MetaVerb::Get) };
    store.meta_get(&touch, key(b"text"), START);
    let StoreCounters { get_hits, get_misses, touch_hits, touch_misses, .. } = *store.counters();
    assert_eq!([get_hits, get_misses, touch_hits, touch_misses], [0, 0, 3, 2]);
    // Where there is nothing to be touched, and nothing is made, it is a get that misses.
    store.meta_get(&touch, key(b"none"), START);
    store.meta_get(&MetaCommand { vivify: Some(100), ..touch }, key(b"made"), START);
    store.meta_get(&MetaCommand { vivify: Some(100), ..MetaCommand::new(MetaVerb::Get) }, key(b"made2"), START);
    let StoreCounters { get_hits, get_misses, touch_hits, touch_misses, .. } = *store.counters();
    assert_eq!([get_hits, get_misses, touch_hits, touch_misses], [1, 1, 4, 2]);
}

#[test]
fn who_finds_what_is_dead_counts_that_whatever_he_wanted() {
    let mut store = store_of(8 << 20);
    let at = Expiry::new(10, START);
    let wants: [fn(&mut Store, Key<'_>); 5] = [
        |store, key| assert!(store.get(key, START + 10).is_none()),
        |store, key| assert!(!store.touch(key, Expiry::NEVER, START + 10)),
        |store, key| assert!(!store.delete(key, START + 10)),
        |store, key| assert_eq!(store.count(Direction::Increment, key, 1, START + 10), Counted::NotFound),
        |store, key| {
            store.store(StorageVerb::Set, key, 0, Expiry::NEVER, &value(b"x"), START + 10);
        },
    ];
    for (number, _) in wants.iter().enumerate() {
        store.store(StorageVerb::Set, key(format!("{number}").as_bytes()), 0, at, &value(b"1"), START);
    }
    for (number, want) in wants.iter().enumerate() {
        want(&mut store, key(format!("{number}").as_bytes()));
        assert_eq!(store.counters().get_expired, number as u64 + 1);
    }
}

#[test]
fn prefixes_for_which_there_is_no_room_are_left_out_and_counted() {
    let mut store = prepared();
    store.count_prefixes(true);
    for number in 0..5000 {
        store.get(key(format!("{number}:a").as_bytes()), START);
    }
    assert_eq!((store.prefixes().count(), store.prefixes_left_out()), (4096, 904));
    store.reset_class_counters();
    store.get(key(b"new:a"), START);
    assert_eq!((store.prefixes().count(), store.prefixes_left_out()), (1, 904));
    assert_eq!(store.counters().get_misses, 5001, "what is counted of the whole goes on");
}

/// The class of an item.
fn class_of(store: &Store, name: &[u8]) -> ClassFigures {
    let id = store.find(key(name)).expect("it is there");
    let group = store.group(id);
    store.classes(START).find(|(class, _)| *class == group).expect("it has an item").1
}

#[test]
fn hits_and_moves_are_counted_by_segment() {
    let mut store = store_of(8 << 20);
    let ask = |store: &mut Store, name: &str, times: usize| {
        (0..times).for_each(|_| assert!(get(store, name, START).is_some()));
    };
    // The newest two stay hot.
    for number in 0..10 {
        set(&mut store, &format!("{number}"), b"x", START);
    }
    ask(&mut store, "9", 4);
    ask(&mut store, "0", 5);
    let told = class_of(&store, b"0");
    assert_eq!((told.segments, told.counters.hits), ([2, 1, 7], [0, 4, 3, 2]));
    assert_eq!((told.counters.get_hits(), told.item_bytes), (9, 10 * (item::HEADER_BYTES + 2)));
    assert_eq!(told.moves, Moves { to_cold: 8, to_warm: 1, ..Moves::default() });
    // More than may be warm: the oldest of them, which was asked for again and again, stays, and the next one does not.
    ["1", "2", "3", "4", "5"].into_iter().for_each(|name| ask(&mut store, name, 2));
    set(&mut store, "x", b"x", START);
    let told = class_of(&store, b"0");
    assert_eq!((told.segments, told.moves), ([2, 5, 4], Moves { to_cold: 10, to_warm: 6, within_warm: 1, to_hot: 0 }));
    store.reset_class_counters();
    let anew = class_of(&store, b"0");
    assert_eq!((anew.moves, anew.counters.hits), (Moves::default(), [0; 4]));
    assert_eq!(anew.item_bytes, told.item_bytes, "they are there");
}

#[test]
fn what_is_looked_at_when_there_is_time_is_counted() {
    let mut store = prepared();
    for name in ["dead", "found"] {
        store.store(StorageVerb::Set, key(name.as_bytes()), 0, Expiry::new(10, START), &value(b"x"), START);
    }
    assert!(get(&mut store, "found", START + 10).is_none());
    assert_eq!(store.poll(START + 10), 1);
    let ClassCounters { swept, swept_dead, reclaimed, .. } = class_of(&store, b"text").counters;
    assert_eq!([swept, swept_dead, reclaimed], [3, 1, 2], "one of the dead was found before");
}

//! The store beside a plain map, and what it keeps to whatever happens.

mod counts;
mod room;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use sunstar_packet::Buffer;

use super::slab::{NO_ITEM, PAGE_BYTES};
use super::*;

const SECRET: [u64; 2] = [3, 4];
const START: u32 = 1_700_000_000;

fn store_of(limit_bytes: usize) -> Store {
    Store::new(KeyHash::new(SECRET), limit_bytes)
}

fn key(text: &[u8]) -> Key<'_> {
    KeyHash::new(SECRET).key(text)
}

fn value(bytes: &[u8]) -> Value {
    Value::from(Buffer::copy_from_slice(bytes))
}

fn bytes_of(found: FoundValue<'_>) -> Vec<u8> {
    match found {
        FoundValue::Small(bytes) => bytes.to_vec(),
        FoundValue::Large(value) => value.to_vec(),
    }
}

fn set(store: &mut Store, name: &str, bytes: &[u8], now: u32) -> Stored {
    store.store(StorageVerb::Set, key(name.as_bytes()), 0, Expiry::NEVER, &value(bytes), now)
}

fn get(store: &mut Store, name: &str, now: u32) -> Option<Vec<u8>> {
    store.get(key(name.as_bytes()), now).map(|found| bytes_of(found.value))
}

impl Store {
    /// All that must be true whatever was done.
    fn check(&self) {
        assert!(self.memory_bytes() <= self.limit_bytes + 32_768, "{:?}", self.figures());
        let mut linked = BTreeSet::new();
        for group in 0..=self.slabs.classes() {
            let mut bytes = 0;
            for segment in [lru::HOT, lru::WARM, lru::COLD] {
                let items = self.lru.items(&self.slabs, group, segment);
                assert_eq!(items.len(), self.lru.count(group, segment));
                for id in items {
                    assert!(self.group(id) == group && item::segment(self.slabs.chunk(id)) == segment);
                    assert!(linked.insert(id), "an item is in two lists");
                    let chunk = self.slabs.chunk(id);
                    bytes += item::HEADER_BYTES + item::key(chunk).len() + self.found(id).value.len();
                }
            }
            assert_eq!(self.class_bytes[group], bytes, "bytes of group {group}");
        }
        let (mut chained, mut bytes) = (0, 0);
        for bucket in 0..self.buckets.count() {
            let mut id = self.buckets.first(bucket);
            while id != NO_ITEM {
                let chunk = self.slabs.chunk(id);
                assert!(item::is_used(chunk) && linked.contains(&id));
                assert_eq!(self.buckets.of(key(item::key(chunk)).low()), bucket);
                chained += 1;
                bytes += item::HEADER_BYTES + item::key(chunk).len() + item::VALUE_BYTES.of(chunk) as usize;
                id = item::CHAIN.of(chunk);
            }
        }
        let used: usize = (0..self.slabs.classes()).map(|class| self.slabs.figures(class).used_chunks).sum();
        assert_eq!(
            (chained, linked.len(), used, bytes),
            (self.items, self.items, self.items, self.figures().item_bytes)
        );
        assert!(self.large.memory_bytes() > 0 || self.lru.is_empty(self.slabs.classes()));
    }
}

/// An operation on one of a few keys.
#[derive(Clone, Debug)]
enum Step {
    Store(StorageVerb, u8, u32, i64, Vec<u8>),
    StoreIfUnchanged(u8, bool, Vec<u8>),
    Get(u8),
    GetAndTouch(u8, i64),
    Touch(u8, i64),
    Delete(u8),
    Count(Direction, u8, u64),
    Flush(i64),
    Poll,
    Wait(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0..12_u8;
    let time = || prop_oneof![3 => Just(0_i64), 3 => 1..20_i64, 1 => Just(-1_i64)];
    let verb = prop_oneof![
        4 => Just(StorageVerb::Set),
        1 => Just(StorageVerb::Add),
        1 => Just(StorageVerb::Replace),
        1 => Just(StorageVerb::Append),
        1 => Just(StorageVerb::Prepend),
    ];
    let content = || {
        prop_oneof![
            2 => vec(any::<u8>(), 0..100),
            2 => " {0,1}[+]{0,1}[0-9]{1,20} {0,2}".prop_map(String::into_bytes),
            1 => (any::<u8>(), 3900..4300_usize).prop_map(|(byte, len)| std::vec![byte; len]),
            1 => (any::<u8>(), 60_000..140_000_usize).prop_map(|(byte, len)| std::vec![byte; len]),
        ]
    };
    let direction = prop_oneof![Just(Direction::Increment), Just(Direction::Decrement)];
    let by = prop_oneof![0..100_u64, any::<u64>()];
    prop_oneof![
        8 => (verb, name(), any::<u32>(), time(), content()).prop_map(|(v, n, f, t, c)| Step::Store(v, n, f, t, c)),
        2 => (name(), any::<bool>(), content()).prop_map(|(n, same, c)| Step::StoreIfUnchanged(n, same, c)),
        6 => name().prop_map(Step::Get),
        1 => (name(), time()).prop_map(|(n, t)| Step::GetAndTouch(n, t)),
        1 => (name(), time()).prop_map(|(n, t)| Step::Touch(n, t)),
        2 => name().prop_map(Step::Delete),
        4 => (direction, name(), by).prop_map(|(d, n, by)| Step::Count(d, n, by)),
        1 => time().prop_map(Step::Flush),
        1 => Just(Step::Poll),
        2 => (0..10_u32).prop_map(Step::Wait),
    ]
}

/// What the store should be, in plain words.
#[derive(Default)]
struct Model {
    items: BTreeMap<u8, ModelItem>,
    now: u32,
    flush_at: Option<u32>,
}

#[derive(Clone, Debug)]
struct ModelItem {
    flags: u32,
    expires: Option<u32>,
    bytes: Vec<u8>,
    cas: u64,
}

impl Model {
    fn forget(&mut self) {
        if self.flush_at.is_some_and(|at| at <= self.now) {
            self.items.clear();
            self.flush_at = None;
        }
        let now = self.now;
        self.items.retain(|_, item| item.expires.is_none_or(|at| at > now));
    }

    fn expires(&self, time: i64) -> Option<u32> {
        match time {
            0 => None,
            ..0 => Some(0),
            time => Some(self.now + u32::try_from(time).unwrap()),
        }
    }

    /// Whether it is stored.
    fn store(&mut self, verb: StorageVerb, name: u8, flags: u32, time: i64, bytes: &[u8], cas: u64) -> bool {
        let old = self.items.get(&name).cloned();
        let expires = self.expires(time);
        let bytes = bytes.to_vec();
        let item = match (verb, old) {
            (StorageVerb::Add, Some(_)) | (StorageVerb::Replace | StorageVerb::Append | StorageVerb::Prepend, None) => {
                return false;
            }
            (StorageVerb::Append, Some(old)) => ModelItem { bytes: [old.bytes, bytes].concat(), cas, ..old },
            (StorageVerb::Prepend, Some(old)) => ModelItem { bytes: [bytes, old.bytes].concat(), cas, ..old },
            _ => ModelItem { flags, expires, bytes, cas },
        };
        self.items.insert(name, item);
        true
    }

    fn count(&mut self, direction: Direction, name: u8, by: u64) -> Counted {
        let Some(item) = self.items.get_mut(&name) else { return Counted::NotFound };
        // What is so long lies outside, and is not looked at.
        let text = str::from_utf8(&item.bytes)
            .ok()
            .filter(|text| text.len() < LARGE_VALUE_BYTES)
            .map(|text| text.trim_ascii());
        let digits = text.map(|text| text.strip_prefix('+').unwrap_or(text));
        let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(number) = digits.and_then(|text| text.parse::<u64>().ok()) else { return Counted::NotANumber };
        let number = match direction {
            Direction::Increment => number.wrapping_add(by),
            Direction::Decrement => number.saturating_sub(by),
        };
        item.bytes = format!("{number:<width$}", width = item.bytes.len()).into_bytes();
        Counted::Number(number)
    }
}

/// Does a step in both; what the store says must be what the model says.
fn follow(store: &mut Store, model: &mut Model, step: &Step) {
    model.forget();
    let now = START + model.now;
    let expiry = |time| Expiry::new(time, now);
    let text = |name: u8| format!("name{name}").into_bytes();
    match step {
        Step::Store(verb, name, flags, time, bytes) => {
            let stored = store.store(*verb, key(&text(*name)), *flags, expiry(*time), &value(bytes), now);
            let cas = if let Stored::Stored(cas) = stored { cas } else { 0 };
            assert_eq!(model.store(*verb, *name, *flags, *time, bytes, cas), cas > 0, "{stored:?}");
        }
        Step::StoreIfUnchanged(name, is_same, bytes) => store_if_unchanged(store, model, *name, *is_same, bytes),
        Step::Get(name) => see(store.get(key(&text(*name)), now), model.items.get(name)),
        Step::GetAndTouch(name, time) => {
            let expires = model.expires(*time);
            let expected = model.items.get_mut(name).map(|item| {
                item.expires = expires;
                item.clone()
            });
            see(store.get_and_touch(key(&text(*name)), expiry(*time), now), expected.as_ref());
        }
        Step::Touch(name, time) => {
            let expires = model.expires(*time);
            let item = model.items.get_mut(name);
            assert_eq!(store.touch(key(&text(*name)), expiry(*time), now), item.is_some());
            item.into_iter().for_each(|item| item.expires = expires);
        }
        Step::Delete(name) => {
            assert_eq!(store.delete(key(&text(*name)), now), model.items.remove(name).is_some());
        }
        Step::Count(direction, name, by) => {
            let counted = store.count(*direction, key(&text(*name)), *by, now);
            assert_eq!(counted, model.count(*direction, *name, *by));
            if let Counted::Number(_) = counted {
                // Who has read it before must notice.
                let cas = store.get(key(&text(*name)), now).expect("it was counted").cas;
                let item = model.items.get_mut(name).expect("it was counted");
                assert!(cas > item.cas);
                item.cas = cas;
            }
        }
        Step::Flush(time) => {
            store.flush(expiry(*time), now);
            model.flush_at = model.expires(*time).filter(|at| *at > model.now);
            if model.flush_at.is_none() {
                model.items.clear();
            }
        }
        Step::Poll => {
            store.poll(now);
        }
        Step::Wait(seconds) => model.now += seconds,
    }
}

fn store_if_unchanged(store: &mut Store, model: &mut Model, name: u8, is_same: bool, bytes: &[u8]) {
    let (now, text) = (START + model.now, format!("name{name}"));
    let known = model.items.get(&name).map(|item| item.cas);
    let asked = known.unwrap_or(5) + u64::from(!is_same);
    let stored = store.store(StorageVerb::Cas(asked), key(text.as_bytes()), 0, Expiry::NEVER, &value(bytes), now);
    match (known, stored) {
        (None, Stored::NotFound) => {}
        (Some(_), Stored::Exists) => assert!(!is_same),
        (Some(_), Stored::Stored(cas)) => {
            assert!(is_same);
            model.store(StorageVerb::Set, name, 0, 0, bytes, cas);
        }
        other => panic!("{other:?}"),
    }
}

fn see(found: Option<Found<'_>>, expected: Option<&ModelItem>) {
    let Some(found) = found else { return assert!(expected.is_none(), "{expected:?} is missing") };
    let expected = expected.expect("there should be no item");
    assert!(bytes_of(found.value) == expected.bytes, "another value");
    assert_eq!((found.flags, found.cas), (expected.flags, expected.cas));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn property_the_store_is_a_map(steps in vec(step(), 1..120)) {
        let mut store = store_of(64 << 20);
        let mut model = Model::default();
        for step in &steps {
            follow(&mut store, &mut model, step);
            store.check();
        }
        prop_assert_eq!(store.counters().evictions, 0);
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Items may be missing then, and that is all.
    #[test]
    fn property_a_full_store_keeps_its_bounds_and_tells_no_lies(
        sizes in vec(prop_oneof![8 => 0..300_usize, 3 => 300..4100_usize, 1 => 4096..200_000_usize], 200..800),
        names in 10..2000_usize,
    ) {
        let mut store = store_of(MIN_MEMORY_BYTES);
        let mut last = BTreeMap::new();
        for (turn, size) in sizes.iter().cycle().take(1000).enumerate() {
            let name = turn.wrapping_mul(7919) % names;
            let now = START + u32::try_from(turn / 50).unwrap();
            let mut bytes = std::vec![b'x'; *size];
            bytes.extend(format!("{turn}").into_bytes());
            match set(&mut store, &format!("name{name}"), &bytes, now) {
                Stored::Stored(_) => last.insert(name, bytes),
                other => panic!("{other:?}"),
            };
            let other = turn.wrapping_mul(104_729) % names;
            if let Some(found) = get(&mut store, &format!("name{other}"), now) {
                prop_assert!(Some(&found) == last.get(&other), "an old value");
            }
            if turn % 100 == 0 {
                store.check();
            }
        }
        store.check();
    }
}

#[test]
fn memory_is_kept_to_whatever_sizes_come() {
    let mut store = store_of(8 << 20);
    let mut now = START;
    // Each size fills the store after another one has filled it.
    for size in [50, 3000, 100_000, 10, 1000, 500_000, 200] {
        for count in 0..(12 << 20) / (size + 60) {
            assert!(matches!(set(&mut store, &format!("{size}:{count}"), &vec![1; size], now), Stored::Stored(_)));
            assert!(store.figures().memory_bytes <= store.figures().limit_bytes + 32_768);
        }
        store.check();
        let figures = store.figures();
        assert!(figures.item_bytes > figures.limit_bytes / 2, "{size}: {figures:?}");
        now += 100;
    }
    assert!(store.counters().evictions > 0 && store.counters().pages_moved > 0);
    store.set_memory(2 << 20);
    for _ in 0..40 {
        store.poll(now);
    }
    assert!(store.figures().memory_bytes <= 2 << 20);
    assert!(store.free_memory(1 << 20, now) >= 1 << 20);
    store.check();
}

#[test]
fn what_is_used_beside_counts_for_the_cap() {
    let mut store = store_of(4 << 20);
    store.lend(1 << 20);
    for number in 0..60_000 {
        assert!(matches!(set(&mut store, &format!("{number}"), &[1; 100], START), Stored::Stored(_)));
    }
    assert!(store.figures().memory_bytes <= (3 << 20) + 32_768, "{:?}", store.figures());
    store.lend(2 << 20);
    for _ in 0..40 {
        store.poll(START);
    }
    assert!(store.figures().memory_bytes <= 2 << 20, "{:?}", store.figures());
    // Who lends all gets it, and items of some size are kept nevertheless.
    store.lend(8 << 20);
    assert!(matches!(set(&mut store, "a", &[1; 100], START), Stored::NoMemory | Stored::Stored(_)));
    store.check();
}

/// Items that are asked for again and again outlive a reader of everything.
#[test]
fn what_is_wanted_survives_a_scan() {
    let mut store = store_of(MIN_MEMORY_BYTES);
    let wanted: Vec<String> = (0..500).map(|number| format!("want{number:05}")).collect();
    for name in &wanted {
        set(&mut store, name, &[1; 100], START);
    }
    for number in 0..100_000_u32 {
        set(&mut store, &format!("once{number:05}"), &[1; 100], START);
        let name = &wanted[number as usize % wanted.len()];
        get(&mut store, name, START);
    }
    let kept = wanted.iter().filter(|name| get(&mut store, name, START).is_some()).count();
    assert_eq!(kept, wanted.len());
    assert!(store.counters().evictions > 90_000, "{:?}", store.counters());
    assert!(get(&mut store, "once00001", START).is_none());
}

#[test]
fn dead_items_are_found_by_who_looks_and_by_themselves() {
    let mut store = store_of(8 << 20);
    let expiry = Expiry::new(10, START);
    for number in 0..10_000 {
        store.store(StorageVerb::Set, key(format!("{number}").as_bytes()), 0, expiry, &value(&[1; 100]), START);
    }
    assert!(get(&mut store, "1", START + 9).is_some() && get(&mut store, "1", START + 10).is_none());
    assert_eq!((store.counters().get_expired, store.figures().items), (1, 9_999));
    let gone: usize = (0..store.pages()).map(|_| store.poll(START + 10)).sum();
    assert_eq!((gone, store.figures().items, store.figures().item_bytes), (9_999, 0, 0));
    assert!(store.counters().expired_unfetched >= 9_999 && store.counters().evictions == 0);
    store.check();
    assert!(store.figures().memory_bytes < 2 << 20, "pages are given back: {:?}", store.figures());
}

#[test]
fn a_flush_takes_what_was_there_and_nothing_else() {
    let mut store = store_of(8 << 20);
    set(&mut store, "a", b"1", START);
    store.flush(Expiry::NEVER, START);
    set(&mut store, "b", b"2", START);
    assert!(get(&mut store, "a", START).is_none() && get(&mut store, "b", START).is_some());
    assert_eq!(store.counters().get_flushed, 1);
    store.flush(Expiry::new(5, START), START);
    set(&mut store, "c", b"3", START + 4);
    assert!(get(&mut store, "b", START + 4).is_some(), "it is not time yet");
    assert!(get(&mut store, "b", START + 5).is_none() && get(&mut store, "c", START + 5).is_none());
    set(&mut store, "d", b"4", START + 5);
    assert!(get(&mut store, "d", START + 6).is_some());
}

#[test]
fn times_are_read_as_memcached_does() {
    assert_eq!(Expiry::new(0, START).second(), None);
    assert_eq!(Expiry::new(-1, START).second(), Some(1));
    assert_eq!(Expiry::new(60, START).second(), Some(START + 60));
    assert_eq!(Expiry::new(2_592_000, START).second(), Some(START + 2_592_000));
    assert_eq!(Expiry::new(2_592_001, START).second(), Some(2_592_001));
    assert_eq!(Expiry::new(i64::MAX, START).second(), Some(u32::MAX));
}

/// The wall's clock was put an hour forward, or back, since the clock of items began.
#[test]
fn a_second_since_1970_is_that_of_the_clock_from_then_on() {
    for wall in [START - 3600, START, START + 3600] {
        let second = |exptime: i64| Expiry::new(Expiry::on_clock(exptime, START, wall), START).second();
        assert_eq!(second(i64::from(wall) + 100), Some(START + 100));
        assert_eq!(second(i64::from(wall) - 100), Some(1), "it has passed");
        assert_eq!((second(0), second(100), second(-1)), (None, Some(START + 100), Some(1)));
        assert_eq!(second(2_592_000), Some(START + 2_592_000), "thirty days are from now");
        assert_eq!(second(2_592_001), Some(1), "and a day in 1970 has passed");
        assert_eq!(second(i64::MAX), Some(u32::MAX));
    }
}

#[test]
fn a_large_value_is_handed_out_as_it_is_and_keeps_no_foreign_memory() {
    let mut store = store_of(8 << 20);
    let received = Buffer::copy_from_slice(&[7; 20_000]);
    store.store(StorageVerb::Set, key(b"a"), 0, Expiry::NEVER, &Value::from(received.slice(..10_000)), START);
    assert!(received.is_unique(), "the store keeps what was received");
    let one = store.get(key(b"a"), START).map(|found| match found.value {
        FoundValue::Large(value) => value.clone(),
        FoundValue::Small(_) => panic!("it was copied"),
    });
    store.delete(key(b"a"), START);
    assert!(*one.as_ref().expect("it is there") == *[7; 10_000].as_slice(), "who has it keeps it");
    drop(one);
    assert!(store.large.memory_bytes() < 1000);
}

#[test]
fn what_would_push_out_everything_is_refused() {
    let mut store = store_of(MIN_MEMORY_BYTES);
    set(&mut store, "small", b"1", START);
    set(&mut store, "a", b"1", START);
    assert_eq!(set(&mut store, "a", &vec![1; MIN_MEMORY_BYTES], START), Stored::NoMemory);
    assert!(get(&mut store, "a", START).is_none(), "an old value would be wrong");
    assert!(get(&mut store, "small", START).is_some() && store.counters().no_memory == 1);
    store.check();
}

/// The bar: no more than memcached's 192 of a chunk and its share of the hash table, for 32 bytes of key and 100 of value.
#[test]
fn an_item_of_a_hundred_bytes_takes_little() {
    let mut store = store_of(256 << 20);
    for number in 0..200_000 {
        set(&mut store, &format!("{number:032}"), &[1; 100], START);
    }
    let per_item = store.figures().memory_bytes / store.figures().items;
    assert!(per_item <= 186, "{per_item} bytes per item");
    assert!(store.slabs.memory_bytes().is_multiple_of(8) && PAGE_BYTES == 65_536);
}

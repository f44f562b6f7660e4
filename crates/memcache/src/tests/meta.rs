//! Meta commands: what they answer, and who is told to renew an item.

use proptest::collection::vec;
use proptest::prelude::*;
use sunstar_packet::Buffer;

use crate::{Endpoint, Expiry, KeyHash, Limits, Operation, Output, Request, StorageVerb, Store, Value};

const NOW: u32 = 1_700_000_000;

/// A server of one connection and one shard, whose clock the test moves.
struct World {
    endpoint: Endpoint,
    store: Store,
    now_s: u32,
}

impl World {
    fn new() -> Self {
        let store = Store::new(KeyHash::new([1, 2]), 8 << 20);
        Self { endpoint: Endpoint::new(Limits::DEFAULT), store, now_s: NOW }
    }

    /// What comes back when this is sent.
    fn ask(&mut self, text: &str) -> String {
        let mut server = self.endpoint.accept();
        server.handle_input(Buffer::copy_from_slice(text.as_bytes())).expect("nothing came before");
        let mut output = Output::new(&self.endpoint);
        while let Some(request) = server.poll_request() {
            match request {
                Request::Meta(command, key, value) => {
                    let key = self.store.key(&key);
                    self.store.execute(&Operation::Meta(command), key, &value, self.now_s, &mut output);
                }
                Request::Refused { refusal, .. } => output.put_refusal(refusal),
                other => panic!("{other:?}"),
            }
        }
        let mut out: Vec<Buffer> = Vec::new();
        output.poll_transmit(&mut out);
        String::from_utf8(out.concat()).expect("text")
    }

    fn expect(&mut self, exchanges: &[(&str, &str)]) {
        for (question, answer) in exchanges {
            assert_eq!(self.ask(&format!("{question}\r\n")), answer.replace('|', "\r\n"), "{question}");
        }
    }
}

#[test]
fn each_flag_is_answered_in_the_order_in_which_it_was_sent() {
    let mut world = World::new();
    world.expect(&[
        ("mg a", "EN|"),
        ("mg a q", ""),
        ("mg a k Oab v", "EN ka Oab|"),
        ("ms a 2 T100 F5 c k Oab\r\nhi", "HD c1 ka Oab|"),
        ("mg a u h l", "HD h0 l0|"),
        ("mg a v t f s c k Oab h q", "VA 2 t100 f5 s2 c1 ka Oab h0|hi|"),
        ("mg a k s h", "HD ka s2 h1|"),
        ("mg a t T50 t T0 t", "CLIENT_ERROR duplicate flag|"),
        ("mg a t T50", "HD t100|"),
        ("mg a T0 t", "HD t-1|"),
        ("md a q k", ""),
        ("md a q k", "NF ka|"),
        ("me a", "EN|"),
    ]);
}

#[test]
fn an_item_knows_when_it_was_asked_for() {
    let mut world = World::new();
    world.expect(&[("ms a 1 T100\r\nx", "HD|")]);
    world.now_s += 7;
    world.expect(&[("mg a u l h t", "HD l7 h0 t93|"), ("mg a l h", "HD l7 h0|"), ("mg a l h", "HD l0 h1|")]);
    world.now_s += 3;
    world.expect(&[("me a", "ME a exp=-90 la=3 cas=1 fetch=yes cls=1 size=40|")]);
}

#[test]
fn one_client_renews_what_is_stale() {
    let mut world = World::new();
    world.expect(&[
        ("ms a 1\r\nx", "HD|"),
        ("md a I T30", "HD|"),
        ("mg a v t c", "VA 1 t30 c2 X W|x|"),
        ("mg a v", "VA 1 Z X|x|"),
        ("ms a 1 C1 I T500\r\ny", "HD|"),
        ("mg a v t", "VA 1 t30 Z X|y|"),
        ("md a I", "HD|"),
        ("mg a", "HD X W|"),
        ("ms a 1\r\nz", "HD|"),
        ("mg a v", "VA 1|z|"),
    ]);
}

#[test]
fn one_client_makes_what_is_not_there_or_soon_will_not_be() {
    let mut world = World::new();
    world.expect(&[
        ("mg a N30 v t", "VA 0 t30 W||"),
        ("mg a N30 v t", "VA 0 t30 Z||"),
        ("ms a 1 T30\r\nx", "HD|"),
        ("mg a R29", "HD|"),
        ("mg a R31 t", "HD t30 W|"),
        ("mg a R31", "HD Z|"),
        ("mg b t N30", "HD t-1 W|"),
    ]);
    world.now_s += 30;
    world.expect(&[("mg a", "EN|")]);
}

#[test]
fn numbers_are_made_and_changed() {
    let mut world = World::new();
    world.expect(&[
        ("ma n", "NF|"),
        ("ma n N30 J9 v t k", "VA 1 t30 kn|9|"),
        ("ma n D5 v c", "VA 2 c2|14|"),
        ("ma n MD D100 v", "VA 1|0|"),
        ("ma n C1 v Ox", "EX Ox|"),
        ("ma n q", ""),
        ("ma n C4 v T100 t", "VA 1 t100|2|"),
        ("ms n 1\r\nx", "HD|"),
        ("ma n q", "CLIENT_ERROR cannot increment or decrement non-numeric value|"),
    ]);
}

#[test]
fn keys_in_base64_are_told_so() {
    let mut world = World::new();
    world.expect(&[
        ("ms Zm9v 3 b k\r\nbar", "HD kZm9v b|"),
        ("mg foo k v", "VA 3 kZm9v b|bar|"),
        ("me foo", "ME Zm9v exp=-1 la=0 cas=1 fetch=yes cls=1 size=44|"),
        ("ms AAo= 1 b\r\nx", "HD|"),
        // What is left over of the last letter belongs to no byte.
        ("mg AAp= b k s", "HD kAAo= b s1|"),
        ("md AAo= b k", "HD kAAo= b|"),
        ("mg Zm9 b", "CLIENT_ERROR error decoding key|"),
    ]);
}

/// A key that another protocol has stored is no part of an answer.
#[test]
fn keys_that_are_no_words_are_told_in_base64() {
    let mut world = World::new();
    let key = world.store.key(b"a\r\nEN");
    world.store.store(StorageVerb::Set, key, 0, Expiry::NEVER, &Value::new(), NOW);
    world.expect(&[
        ("mg YQ0KRU4= b k", "HD kYQ0KRU4= b|"),
        ("me YQ0KRU4= b", "ME YQ0KRU4= exp=-1 la=0 cas=1 fetch=yes cls=1 size=43|"),
    ]);
}

#[test]
fn a_value_that_must_be_refused_is_no_command() {
    let mut world = World::new();
    world.expect(&[
        ("ms a 6 v v\r\nmg a x", "CLIENT_ERROR duplicate flag|"),
        ("ms a 6 Tx q\r\nmg a x", "CLIENT_ERROR bad token in command line format|"),
        ("ms a 1\r\nxy", "CLIENT_ERROR bad data chunk|ERROR|"),
    ]);
    let long = format!("ms {} 6\r\nmg a x", "k".repeat(251));
    world.expect(&[(&long, "CLIENT_ERROR bad command line format|")]);
}

/// Requests that concern who renews one item.
const RENEWALS: &[&str] = &[
    "mg a v",
    "mg a N100",
    "mg a R50",
    "mg a R500",
    "mg a u",
    "md a",
    "md a I",
    "md a I T200",
    "ms a 1 T100\r\nx",
    "ms a 1\r\nx",
    "ma a N100",
    "mg a T100",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Between two changes of the item at most one client is told to renew it.
    #[test]
    fn property_one_client_wins(steps in vec(prop::sample::select(RENEWALS), 1..40)) {
        let mut world = World::new();
        let mut winners = 0;
        // What is told without an effect: the unique number among others.
        let look = |world: &mut World| {
            let told = world.ask("me a\r\n");
            told.split(' ').find(|word| word.starts_with("cas=")).map(str::to_owned)
        };
        for step in steps {
            let before = look(&mut world);
            let answer = world.ask(&format!("{step}\r\n"));
            if look(&mut world) != before {
                winners = 0;
            }
            let line = answer.lines().next().unwrap_or_default();
            winners += u32::from(line.split(' ').any(|word| word == "W"));
            prop_assert!(winners <= 1, "{} after another one: {}", step, answer);
        }
    }
}

use super::*;

/// In memory that needs no shard.
fn in_buffer(bytes: &[u8]) -> Buffer {
    Buffer::from(bytes.to_vec())
}

fn memcache() -> Memcache {
    let keys = Keys { count: 1000, len_bytes: 3, value_bytes: (8, 8) };
    let mix = Mix { keys, gets: 1.0, keys_per_get: 1, zipf: None, verifies: true };
    Memcache::new(&mix, 1, in_buffer)
}

/// What is made of it that gets of some keys are answered so: an item by its key, and perhaps by that of which it has the value, for each.
fn verdicts(asked: &[&[u64]], answers: &[&[(u64, u64)]]) -> Vec<(Verdict, u32)> {
    let memcache = memcache();
    let mut session = memcache.session();
    asked.iter().for_each(|keys| memcache.get(&mut session, keys.iter().copied()));
    session.connection.poll_transmit(&mut Vec::new());
    let mut text = Vec::new();
    for items in answers {
        for (key, value) in *items {
            text.extend(format!("VALUE {key:03} 0 8\r\n").bytes());
            text.extend_from_slice(&memcache.pattern[memcache.mix.keys.value(*value)]);
            text.extend(b"\r\n");
        }
        text.extend(b"END\r\n");
    }
    let mut bytes = in_buffer(&text);
    let verdicts = answers.iter().map(|_| match memcache.hear(&mut session, &mut bytes) {
        Ok(Heard::Answer { verdict, .. }) => (verdict, session.answered.misses),
        Ok(Heard::More) => panic!("it is a whole answer"),
        Err(fault) => panic!("{fault:?}"),
    });
    let verdicts = verdicts.collect();
    assert!(session.keys.is_empty() && session.asked.is_empty());
    verdicts
}

#[test]
fn an_item_has_the_value_of_its_key() {
    let wrong = Verdict::Bad(Fault::WrongBytes);
    assert_eq!(verdicts(&[&[7]], &[&[(7, 7)]]), [(Verdict::Good, 0)]);
    assert_eq!(verdicts(&[&[7]], &[&[(7, 258)]])[0].0, wrong);
}

#[test]
fn an_item_that_was_not_asked_for_is_wrong_though_its_value_is_right() {
    let wrong = Verdict::Bad(Fault::WrongBytes);
    assert_eq!(verdicts(&[&[7]], &[&[(8, 8)]])[0].0, wrong);
    assert_eq!(verdicts(&[&[7]], &[&[(7, 7), (7, 7)]])[0].0, wrong, "it was asked for once");
    assert_eq!(verdicts(&[&[7, 8]], &[&[(8, 8), (7, 7)]])[0].0, wrong, "items come in the order of the keys");
    let swapped = verdicts(&[&[7], &[8]], &[&[(8, 8)], &[(7, 7)]]);
    assert!(swapped.iter().all(|(verdict, _)| *verdict == wrong), "{swapped:?}");
}

#[test]
fn keys_may_be_missed_and_asked_for_several_times() {
    let good = |misses| (Verdict::Good, misses);
    assert_eq!(verdicts(&[&[1, 2, 3], &[4]], &[&[(2, 2)], &[(4, 4)]]), [good(2), good(0)]);
    assert_eq!(verdicts(&[&[5, 5, 5]], &[&[(5, 5), (5, 5)]]), [good(1)]);
    assert_eq!(verdicts(&[&[1], &[2], &[3]], &[&[], &[(2, 2)], &[]]), [good(1), good(0), good(1)]);
}

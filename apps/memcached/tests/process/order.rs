//! What one connection asks for happens to each item in the order in which it was asked, and is answered in it, on whatever shards
//! the items are.

use std::collections::BTreeMap;

use super::server::{Memcached, with_each};

const KEYS: u64 = 40;

/// Numbers that look like chance, the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % bound
    }
}

/// The items as they must be, the requests, and their answers.
#[derive(Default)]
struct Script {
    items: BTreeMap<u64, String>,
    question: String,
    answer: String,
}

impl Script {
    fn step(&mut self, chance: &mut Chance) {
        let key = chance.below(KEYS);
        let old = self.items.get(&key).cloned();
        match chance.below(40) {
            0..14 => {
                // Some lie outside of pages, and some come in several parts.
                let len = [1, 10, 300, 3000, 5000, 100_000][usize::try_from(chance.below(6)).expect("few")];
                let value = format!("{}", chance.below(10)).repeat(len);
                self.question += &format!("set k{key} 0 0 {len}\r\n{value}\r\n");
                self.answer += "STORED\r\n";
                self.items.insert(key, value);
            }
            14..20 => {
                self.question += &format!("append k{key} 0 0 2\r\nxy\r\n");
                self.answer += if old.is_some() { "STORED\r\n" } else { "NOT_STORED\r\n" };
                self.items.entry(key).and_modify(|value| *value += "xy");
            }
            20..24 => {
                self.question += &format!("delete k{key}\r\n");
                self.answer += if self.items.remove(&key).is_some() { "DELETED\r\n" } else { "NOT_FOUND\r\n" };
            }
            24 => {
                self.question += "flush_all\r\n";
                self.answer += "OK\r\n";
                self.items.clear();
            }
            25 => {
                self.question += "verbosity 1\r\nwhat\r\n";
                self.answer += "OK\r\nERROR\r\n";
            }
            26..30 => {
                let keys: Vec<u64> = (0..chance.below(30)).map(|_| chance.below(KEYS)).chain([key]).collect();
                self.question += "get";
                keys.iter().for_each(|key| self.question += &format!(" k{key}"));
                self.question += "\r\n";
                keys.iter().for_each(|key| self.tell(*key));
                self.answer += "END\r\n";
            }
            _ => {
                self.question += &format!("get k{key}\r\n");
                self.tell(key);
                self.answer += "END\r\n";
            }
        }
    }

    fn tell(&mut self, key: u64) {
        if let Some(value) = self.items.get(&key) {
            self.answer += &format!("VALUE k{key} 0 {}\r\n{value}\r\n", value.len());
        }
    }
}

#[test]
fn a_connection_sees_what_it_has_done_in_order() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let mut client = server.client();
        let (mut chance, mut script) = (Chance(7), Script::default());
        for _ in 0..30 {
            (0..100).for_each(|_| script.step(&mut chance));
            let question = std::mem::take(&mut script.question);
            // It answers while it is asked.
            std::thread::scope(|scope| {
                let mut asking = client.0.try_clone().expect("there are descriptors");
                scope.spawn(move || std::io::Write::write_all(&mut asking, question.as_bytes()).expect("it is taken"));
                client.expect(std::mem::take(&mut script.answer));
            });
        }
        server.stop();
    });
}

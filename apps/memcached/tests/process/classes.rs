//! Figures of single classes.

use super::server::{Client, Memcached, with_shards};

/// How many items are stored, all of one size.
const ITEMS: u64 = 20;

/// Header, key and value, of values of 100 bytes, and of a large one.
const ITEM_BYTES: u64 = 38 + 6 + 100;
const LARGE_BYTES: u64 = 38 + 5 + 100_000;

/// What `stats items` says of the class with so many items.
struct Class(Vec<(String, u64)>);

impl Class {
    fn with(client: &mut Client<impl std::io::Read + std::io::Write>, items: u64) -> Self {
        let told = client.stats("items");
        let number = told.iter().find(|(name, value)| name.ends_with(":number") && *value == items.to_string());
        let prefix = number.expect("a class has as many").0.trim_end_matches("number").to_owned();
        let figures = told.iter().filter_map(|(name, value)| Some((name.strip_prefix(&prefix)?, value)));
        Self(figures.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect())
    }

    fn figure(&self, name: &str) -> u64 {
        self.0.iter().find(|(other, _)| other == name).unwrap_or_else(|| panic!("{name} is missing: {:?}", self.0)).1
    }

    fn figures<const N: usize>(&self, names: [&str; N]) -> [u64; N] {
        names.map(|name| self.figure(name))
    }
}

#[test]
fn hits_and_moves_of_segments_are_told() {
    with_shards(|setup| {
        let server = Memcached::start(setup, &[]);
        let mut client = server.client();
        let (value, large) = ("x".repeat(100), "x".repeat(100_000));
        let keys: Vec<String> = (100..100 + ITEMS).map(|number| format!("key{number}")).collect();
        for key in &keys {
            client.ask(format!("set {key} 0 0 100\r\n{value}\r\n"), "STORED\r\n");
        }
        client.ask(format!("set large 0 0 100000\r\n{large}\r\n"), "STORED\r\n");
        // Cold ones are cold twice, and warm then.
        for key in keys.iter().flat_map(|key| [key; 5]) {
            client.ask(format!("get {key}\r\n"), format!("VALUE {key} 0 100\r\n{value}\r\nEND\r\n"));
        }
        client.ask("lru_crawler crawl all\r\n", "OK\r\n");
        let class = Class::with(&mut client, ITEMS);
        let [hot, warm, cold] = class.figures(["number_hot", "number_warm", "number_cold"]);
        assert!(hot > 0 && warm > 0 && (hot, cold) == (ITEMS - warm, 0), "{:?}", class.0);
        assert_eq!(class.figures(["hits_to_hot", "hits_to_warm", "hits_to_cold"]), [5 * hot, 3 * warm, 2 * warm]);
        assert_eq!(class.figures(["moves_to_cold", "moves_to_warm", "moves_within_lru"]), [warm, warm, 0]);
        assert_eq!(class.figures(["mem_requested", "lrutail_reflocked"]), [ITEMS * ITEM_BYTES, 0]);
        assert!(class.figure("crawler_items_checked") >= ITEMS && class.figure("crawler_reclaimed") == 0);
        assert_eq!(Class::with(&mut client, 1).figure("mem_requested"), LARGE_BYTES);
        client.ask("stats reset\r\n", "RESET\r\n");
        let anew = Class::with(&mut client, ITEMS);
        assert_eq!(anew.figures(["hits_to_hot", "hits_to_warm", "moves_to_cold"]), [0; 3]);
        assert_eq!(anew.figure("mem_requested"), ITEMS * ITEM_BYTES, "they are there");
        // Nobody asks for it again before it is found.
        client.ask("touch key100 -1\r\nlru_crawler crawl all\r\n", "TOUCHED\r\nOK\r\n");
        let left = Class::with(&mut client, ITEMS - 1);
        assert_eq!(left.figures(["crawler_reclaimed", "mem_requested"]), [1, (ITEMS - 1) * ITEM_BYTES]);
        server.stop();
    });
}

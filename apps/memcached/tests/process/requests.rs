//! What clients ask for, and are told.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use super::server::{Client, Memcached, command, with_each};

#[test]
fn every_command_is_answered() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let mut client = server.client();
        client.ask("set a 7 0 2\r\nhi\r\nget a\r\n", "STORED\r\nVALUE a 7 2\r\nhi\r\nEND\r\n");
        client.ask("add a 0 0 1\r\nx\r\nreplace b 0 0 1\r\nx\r\n", "NOT_STORED\r\nNOT_STORED\r\n");
        client.ask("append a 0 0 1\r\n!\r\nprepend a 0 0 1\r\n>\r\n", "STORED\r\nSTORED\r\n");
        client.ask("get a b\r\ngat 100 a\r\n", "VALUE a 7 4\r\n>hi!\r\nEND\r\nVALUE a 7 4\r\n>hi!\r\nEND\r\n");
        client.ask("cas a 0 0 1 999999\r\nx\r\ncas b 0 0 1 1\r\nx\r\n", "EXISTS\r\nNOT_FOUND\r\n");
        client.ask("set n 0 0 2\r\n10\r\nincr n 5\r\ndecr n 100\r\n", "STORED\r\n15\r\n0\r\n");
        client.ask(
            "touch n 50\r\ntouch m 50\r\ndelete n\r\ndelete n\r\n",
            "TOUCHED\r\nNOT_FOUND\r\nDELETED\r\nNOT_FOUND\r\n",
        );
        client.ask("set a 0 -1 1\r\nx\r\nget a\r\n", "STORED\r\nEND\r\n");
        client.ask("verbosity 1\r\ncache_memlimit 32\r\n", "OK\r\nOK\r\n");
        client.ask("set a 0 0 1\r\nx\r\nflush_all\r\nget a\r\n", "STORED\r\nOK\r\nEND\r\n");
        client.ask("version\r\n", concat!("VERSION 1.6.18-sunstar-", env!("CARGO_PKG_VERSION"), "\r\n"));
        client.send("quit\r\n");
        client.expect_end();
        server.stop();
    });
}

#[test]
fn silence_is_kept_where_it_is_asked_for() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let mut client = server.client();
        for verb in ["set", "add", "replace", "append", "prepend"] {
            client.ask(format!("{verb} a 0 0 1 noreply\r\n1\r\n"), "");
        }
        client.ask("cas a 0 0 1 1 noreply\r\n2\r\nincr a 1 noreply\r\ndecr a 1 noreply\r\n", "");
        client.ask("touch a 10 noreply\r\ntouch none 10 noreply\r\nverbosity 1 noreply\r\n", "");
        client.ask("get a\r\n", "VALUE a 0 3\r\n111\r\nEND\r\n");
        client.ask("delete a noreply\r\ndelete a noreply\r\nget a\r\n", "END\r\n");
        client.ask("set a 0 0 1\r\n1\r\nflush_all noreply\r\nget a\r\n", "STORED\r\nEND\r\n");
        client.ask(
            format!("cache_memlimit 64 noreply\r\nset a 0 0 2000000 noreply\r\n{}\r\n", "x".repeat(2_000_000)),
            "",
        );
        server.stop();
    });
}

/// Any connection reaches any item, in the order in which it asks.
#[test]
fn pipelined_requests_are_answered_in_order_wherever_their_items_are() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let (mut first, mut second) = (server.client(), server.client());
        let value = |number: usize| format!("{number}").repeat(number * 3);
        let mut question = String::new();
        for number in 0..300 {
            let value = value(number);
            question += &format!("set key{number} {number} 0 {}\r\n{value}\r\n", value.len());
        }
        first.ask(question, "STORED\r\n".repeat(300));
        let item =
            |number: usize| format!("VALUE key{number} {number} {}\r\n{}\r\n", value(number).len(), value(number));
        let keys: Vec<String> = (0..310).map(|number| format!("key{number}")).collect();
        let answer: String = (0..300).map(item).collect();
        second.ask(format!("get {}\r\n", keys.join(" ")), format!("{answer}END\r\n"));
        // Changes and questions between each other, with what concerns all shards among them.
        let mut question = String::new();
        let mut answer = String::new();
        for number in 0..100 {
            question += &format!("delete key{number}\r\nget key{number} key{}\r\n", number + 100);
            answer += &format!("DELETED\r\n{}END\r\n", item(number + 100));
            if number % 30 == 29 {
                question += "verbosity 1\r\nbad\r\nflush_all 1000\r\n";
                answer += "OK\r\nERROR\r\nOK\r\n";
            }
        }
        second.ask(question, answer);
        let foreign = first.figure("foreign_operations");
        assert_eq!(foreign > 0, first.figure("threads") > 1, "{foreign} operations on items of other shards");
        server.stop();
    });
}

#[test]
fn large_values_come_back_as_they_were() {
    with_each(|setup| {
        let server = Memcached::start(setup, &["--max-item-size", "3M"]);
        let (mut first, mut second) = (server.client(), server.client());
        for (number, len) in [4000, 4096, 65_536, 65_537, 1 << 20, 3_000_000].into_iter().enumerate() {
            let value: Vec<u8> = (0..len).map(|at: usize| (at % 251).to_le_bytes()[0]).collect();
            let text = format!("set large{number} 0 0 {len}\r\n");
            first.ask([text.as_bytes(), &value, b"\r\n"].concat(), "STORED\r\n");
            let answer = [format!("VALUE large{number} 0 {len}\r\n").as_bytes(), &value, b"\r\n"].concat();
            second.ask(format!("get large{number} large{number}\r\n"), [&answer[..], &answer, b"END\r\n"].concat());
        }
        first.ask(
            [&b"set large5 0 0 3145728\r\n"[..], &[0; 3 << 20], b"\r\n"].concat(),
            "SERVER_ERROR object too large for cache\r\n",
        );
        second.ask("get large5\r\n", "END\r\n");
        server.stop();
    });
}

#[test]
fn times_pass() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let mut client = server.client();
        client.ask("set soon 0 1 1\r\nx\r\nset late 0 1000 1\r\nx\r\n", "STORED\r\nSTORED\r\n");
        while client.figure("curr_items") == 2 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        client.ask("get soon late\r\n", "VALUE late 0 1\r\nx\r\nEND\r\n");
        assert_eq!(client.figure("expired_unfetched"), 1, "nobody has asked for it");
        server.stop();
    });
}

#[test]
fn figures_are_of_all_shards() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let mut client = server.client();
        (0..100).for_each(|number| {
            client.ask(
                format!("set key{number} 0 0 1\r\nx\r\nget key{number}\r\n"),
                format!("STORED\r\nVALUE key{number} 0 1\r\nx\r\nEND\r\n"),
            )
        });
        client.ask("get none\r\n", "END\r\n");
        for (name, value) in
            [("curr_items", 100), ("cmd_set", 100), ("get_hits", 100), ("get_misses", 1), ("curr_connections", 1)]
        {
            assert_eq!(client.figure(name), value, "{name}");
        }
        let shards = client.figure("threads");
        let of_shards: u64 = client
            .stats("shards")
            .iter()
            .filter(|(name, _)| name.ends_with("curr_items"))
            .map(|(_, value)| value.parse::<u64>().unwrap())
            .sum();
        assert_eq!((of_shards, client.figure("limit_maxbytes")), (100, 64 << 20), "on {shards} shards");
        for argument in ["items", "slabs", "settings", "sizes", "conns"] {
            assert!(!client.stats(argument).is_empty(), "{argument}");
        }
        client.ask(
            "stats reset\r\nstats detail on\r\nstats detail\r\nstats what\r\n",
            "RESET\r\nOK\r\nCLIENT_ERROR usage: stats detail on|off|dump\r\nERROR\r\n",
        );
        assert_eq!((client.figure("cmd_set"), client.figure("curr_items")), (0, 100));
        server.stop();
    });
}

/// Figures of single classes, keys and connections, under memcached's names.
#[test]
fn what_is_stored_and_who_is_there_can_be_looked_at() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let mut client = server.client();
        let large = "x".repeat(100_000);
        for number in 0..20 {
            client.ask(format!("set users:{number} 0 0 100\r\n{}\r\n", "x".repeat(100)), "STORED\r\n");
        }
        client.ask(format!("set large 0 1000 100000\r\n{large}\r\nget large\r\n"), {
            format!("STORED\r\nVALUE large 0 100000\r\n{large}\r\nEND\r\n")
        });
        let find = |figures: &[(String, String)], name: &str, value: &str| {
            let found = figures.iter().find(|(other, found)| other.ends_with(name) && found == value);
            found.unwrap_or_else(|| panic!("{name} {value} is missing: {figures:?}")).0.clone()
        };
        let items = client.stats("items");
        let class = find(&items, ":number", "20").split(':').nth(1).expect("a class").to_owned();
        let last = find(&items, ":number", "1").split(':').nth(1).expect("a class").to_owned();
        let slabs = client.stats("slabs");
        find(&slabs, &format!("{class}:cmd_set"), "20");
        find(&slabs, &format!("{last}:get_hits"), "1");
        find(&slabs, &format!("{class}:used_chunks"), "20");
        assert!(client.stats("sizes").contains(&("160".to_owned(), "20".to_owned())), "{:?}", client.stats("sizes"));
        client.send(format!("stats cachedump {class} 0\r\nstats cachedump {class} 3\r\nstats cachedump {last} 0\r\n"));
        let mut keys = client.lines_until("END");
        keys.sort();
        keys.dedup();
        assert!(keys.len() == 20 && keys.iter().all(|line| line.ends_with(" [100 b; 0 s]")), "{keys:?}");
        assert_eq!(client.lines_until("END").len(), 3);
        let dumped = client.lines_until("END");
        assert!(dumped.len() == 1 && dumped[0].starts_with("ITEM large [100000 b; 1"), "{dumped:?}");
        client.ask("stats cachedump x 0\r\n", "CLIENT_ERROR bad command line format\r\n");
        let second = server.client();
        while client.stats("conns").iter().filter(|(name, _)| name.ends_with(":state")).count() < 2 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let own = second.0.local_addr().expect("it is connected");
        find(&client.stats("conns"), ":addr", &format!("tcp:{own}"));
        find(&client.stats("conns"), ":listen_addr", &format!("tcp:{}", server.place));
        server.stop();
    });
}

#[test]
fn keys_are_counted_by_their_prefixes_while_somebody_wants_that() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let mut client = server.client();
        client.ask("get users:1\r\nstats detail on\r\n", "END\r\nOK\r\n");
        for number in 0..20 {
            client.ask(format!("set users:{number} 0 0 1\r\nx\r\n"), "STORED\r\n");
        }
        client.ask("get users:1 users:none none\r\n", "VALUE users:1 0 1\r\nx\r\nEND\r\n");
        client.ask("delete users:1\r\ndelete other:1\r\nstats detail off\r\nget users:2\r\n", {
            "DELETED\r\nNOT_FOUND\r\nOK\r\nVALUE users:2 0 1\r\nx\r\nEND\r\n"
        });
        client.ask("stats detail dump\r\n", {
            "PREFIX other get 0 hit 0 set 0 del 1\r\nPREFIX users get 2 hit 1 set 20 del 1\r\nEND\r\n"
        });
        // As packets say it: all in one figure. What tells keys they don't have.
        let mut packets = server.client();
        let ask = |key: &str| {
            let key_bytes = u8::try_from(key.len()).expect("it is short");
            [&[0x80, 0x10, 0, key_bytes, 0, 0, 0, 0, 0, 0, 0, key_bytes][..], &[0; 12], key.as_bytes()].concat()
        };
        let answer = |status: u8, key: &str, value: &str| {
            let len = |text: &str| u8::try_from(text.len()).expect("it is short");
            let body = len(key) + len(value);
            let header = [0x81, 0x10, 0, len(key), 0, 0, 0, status, 0, 0, 0, body];
            [&header[..], &[0; 12], key.as_bytes(), value.as_bytes()].concat()
        };
        let told = "PREFIX other get 0 hit 0 set 0 del 1\r\nPREFIX users get 2 hit 1 set 20 del 1\r\nEND\r\n";
        packets.send(ask("detail dump"));
        packets.expect([answer(0, "detailed", told), answer(0, "", "")].concat());
        packets.send(ask("cachedump 1 0"));
        packets.expect(answer(1, "", "Not found"));
        client.ask("stats reset\r\nstats detail dump\r\n", "RESET\r\nEND\r\n");
        packets.send(ask("detail dump"));
        packets.expect([answer(0, "detailed", "END\r\n"), answer(0, "", "")].concat());
        server.stop();
    });
}

/// A shard that tells all would serve nobody else meanwhile.
#[test]
fn what_a_class_has_is_told_up_to_a_bound() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let mut client = server.client();
        let key = |number: usize| format!("{number:0200}");
        for part in 0..40 {
            let sets = (0..500).map(|number| format!("set {} 0 0 1 noreply\r\nx\r\n", key(part * 500 + number)));
            client.ask(sets.collect::<String>(), "");
        }
        let items = client.stats("items");
        let (name, _) = items.iter().find(|(name, _)| name.ends_with(":number")).expect("there are items");
        let class = name.split(':').nth(1).expect("it has a number");
        assert_eq!(client.figure("cachedumps_cut"), 0);
        client.send(format!("stats cachedump {class} 0\r\n"));
        let lines = client.lines_until("END").len();
        // With some ten bytes around the key.
        let most = setup.shards * ((256 << 10) / 200 + 1);
        assert!((500..most).contains(&lines), "{lines}");
        assert_eq!(client.figure("cachedumps_cut"), setup.shards as u64);
        client.send(format!("stats cachedump {class} 3\r\n"));
        assert_eq!(client.lines_until("END").len(), 3);
        assert_eq!(client.figure("cachedumps_cut"), setup.shards as u64, "no more was asked for");
        server.stop();
    });
}

/// What comes in parts belongs to the value alone, and is kept as it came by the shard to which it came.
#[test]
fn large_values_are_not_copied_where_they_came() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let mut client = server.client();
        let value = "x".repeat(200_000);
        for number in 0..20 {
            client.ask(format!("set a{number} 0 0 200000\r\n{value}\r\n"), "STORED\r\n");
            client.ask(format!("get a{number}\r\n"), format!("VALUE a{number} 0 200000\r\n{value}\r\nEND\r\n"));
        }
        let sets_elsewhere = client.figure("foreign_operations") / 2;
        assert_eq!(client.figure("store_copied"), sets_elsewhere);
        server.stop();
    });
}

#[test]
fn what_grows_too_large_is_refused_and_stays() {
    with_each(|setup| {
        let server = Memcached::start(setup, &["--max-item-size", "100K"]);
        let mut client = server.client();
        // What comes too large counts as well, by each protocol.
        let large = "x".repeat(200_000);
        client.ask(format!("set b 0 0 200000\r\n{large}\r\nms b 200000\r\n{large}\r\n"), {
            "SERVER_ERROR object too large for cache\r\n".repeat(2)
        });
        assert_eq!((client.figure("store_too_large"), client.figure("cmd_set")), (2, 0));
        let mut packets = server.client();
        let header = [&[0x80, 1, 0, 1, 8, 0, 0, 0][..], &200_009_u32.to_be_bytes(), &[0; 12], &[0; 8]].concat();
        packets.send([&header[..], b"b", large.as_bytes()].concat());
        packets.expect([0x81, 1, 0, 0, 0, 0, 0, 3]);
        assert_eq!((client.figure("store_too_large"), client.figure("cmd_set")), (3, 0));
        client.ask("stats reset\r\n", "RESET\r\n");
        let value = "x".repeat(60_000);
        client.ask(format!("set a 0 0 60000\r\n{value}\r\n"), "STORED\r\n");
        for verb in ["append", "prepend"] {
            let question = format!("{verb} a 0 0 60000\r\n{value}\r\n");
            client.ask(question, "NOT_STORED\r\n");
        }
        client.ask("get a\r\n", format!("VALUE a 0 60000\r\n{value}\r\nEND\r\n"));
        assert_eq!(client.figure("store_too_large"), 2);
        server.stop();
    });
}

/// Connections with a request each that are served in the same round. Which those are is for the kernel to say, so they ask until some are.
#[test]
fn items_of_several_connections_are_fetched_together() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let mut client = server.client();
        // More than the processor's caches are taken to hold.
        let value = "x".repeat(1000);
        for number in 0..4000 {
            client.send(format!("set key{number} 0 0 1000 noreply\r\n{value}\r\n"));
        }
        client.ask("mn\r\n", "MN\r\n");
        assert_eq!(client.figure("fetched_together"), 0, "it was alone");
        let mut others: Vec<_> = (0..16).map(|_| server.client()).collect();
        while client.figure("fetched_together") == 0 {
            for (number, other) in others.iter_mut().enumerate() {
                other.send(format!("get key{number}\r\n"));
            }
            for (number, other) in others.iter_mut().enumerate() {
                other.expect(format!("VALUE key{number} 0 1000\r\n{value}\r\nEND\r\n"));
            }
        }
        server.stop();
    });
}

/// What Prometheus is shown of a server at an address of its own.
struct Shown {
    place: String,
}

impl Shown {
    /// Where tests of other processes are not.
    fn new() -> Self {
        let [high, low, ..] = std::process::id().to_le_bytes();
        Self { place: format!("127.77.{high}.{low}") }
    }

    /// The series of this name with these labels, one for each shard.
    fn of(&self, name: &str, labels: &[&str]) -> Vec<f64> {
        let mut scrape = TcpStream::connect((&*self.place, 9180)).expect("it listens");
        scrape.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("it is taken");
        let mut text = String::new();
        scrape.read_to_string(&mut text).expect("an answer comes");
        let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        let lines = lines.filter(|line| line.contains("shard=") && labels.iter().all(|label| line.contains(label)));
        lines.map(|line| line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")).collect()
    }
}

#[test]
fn prometheus_sees_what_every_shard_does() {
    with_each(|setup| {
        let shown = Shown::new();
        let server = Memcached::start(setup, &["--prometheus-address", &shown.place, "--prometheus-port", "9180"]);
        let mut client = server.client();
        for number in 0..20 {
            client.ask(format!("set key{number} 0 0 1 noreply\r\nx\r\nget none{number}\r\n"), "END\r\n");
        }
        let large = "x".repeat(1 << 20);
        client.ask(format!("set a 0 0 1048576\r\n{large}\r\n"), "SERVER_ERROR object too large for cache\r\n");
        let shards = client.figure("threads");
        for (name, labels, sum) in [
            ("sunstar_memcached_items", &[][..], 20.0),
            ("sunstar_memcached_operations_total", &["command=\"set\""], 20.0),
            ("sunstar_memcached_operations_total", &["command=\"get\"", "result=\"miss\""], 20.0),
            ("sunstar_memcached_operations_total", &["command=\"cas\"", "result=\"miss\""], 0.0),
            ("sunstar_memcached_too_large_total", &[], 1.0),
            ("sunstar_memcached_items_total", &[], 20.0),
            ("sunstar_memcached_connections_live", &[], 1.0),
        ] {
            let values = shown.of(name, labels);
            assert!(
                values.len() as u64 == shards && values.iter().sum::<f64>() == sum,
                "{name} {labels:?}: {values:?}"
            );
        }
        server.stop();
    });
}

/// `stats` begins anew with all that is counted, as memcached's, and with nothing that is there. Who scrapes sees numbers that only grow.
#[test]
fn figures_begin_anew_for_who_asks_and_not_for_who_scrapes() {
    with_each(|setup| {
        let shown = Shown::new();
        let server = Memcached::start(setup, &["--prometheus-address", &shown.place, "--prometheus-port", "9180"]);
        let mut client = server.client();
        let large = "x".repeat(1 << 20);
        client.ask(format!("set a 0 0 1\r\nx\r\nget a\r\nset b 0 0 1048576\r\n{large}\r\nflush_all 1000\r\n"), {
            "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\nSERVER_ERROR object too large for cache\r\nOK\r\n"
        });
        let names =
            ["cmd_set", "get_hits", "cmd_get", "store_too_large", "total_connections", "total_items", "cmd_flush"];
        for name in names {
            assert_eq!(client.figure(name), 1, "{name}");
        }
        client.ask("stats reset\r\n", "RESET\r\n");
        for name in names {
            assert_eq!(client.figure(name), 0, "{name}");
        }
        assert!(client.figure("bytes_read") < 1000 && client.figure("curr_connections") == 1);
        assert_eq!((client.figure("curr_items"), client.figure("limit_maxbytes")), (1, 64 << 20));
        client.ask("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
        assert_eq!(client.figure("get_hits"), 1);
        let hits = shown.of("sunstar_memcached_operations_total", &["command=\"get\"", "result=\"hit\""]);
        let too_large = shown.of("sunstar_memcached_too_large_total", &[]);
        assert_eq!((hits.iter().sum::<f64>(), too_large.iter().sum::<f64>()), (2.0, 1.0));
        server.stop();
    });
}

/// By the shards alone, and by all that the process does.
#[test]
fn single_shards_and_the_processor_have_figures() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let mut client = server.client();
        (0..50).for_each(|number| client.ask(format!("set key{number} 0 0 1\r\nx\r\n"), "STORED\r\n"));
        (0..50).for_each(|number| {
            client.ask(format!("get key{number} none{number}\r\n"), format!("VALUE key{number} 0 1\r\nx\r\nEND\r\n"))
        });
        let told = client.stats("shards");
        for name in ["cmd_set", "get_hits", "get_misses", "bytes", "curr_items", "evictions", "accepting_conns"] {
            let ending = format!(":{name}");
            let of = told.iter().filter(|(other, _)| other.ends_with(&ending));
            let of: Vec<u64> = of.map(|(_, value)| value.parse().expect("a number")).collect();
            let sum = if name == "accepting_conns" { of.iter().max().copied() } else { Some(of.iter().sum()) };
            assert_eq!((of.len() as u64, sum), (client.figure("threads"), Some(client.figure(name))), "{name}");
        }
        let general = client.stats("");
        for name in ["rusage_user", "rusage_system"] {
            let (_, value) = general.iter().find(|(other, _)| other == name).expect("it is told");
            let (seconds, rest) = value.split_once('.').expect("a fraction");
            assert!(seconds.parse::<u64>().is_ok() && rest.len() == 6 && rest.parse::<u64>().is_ok(), "{value}");
        }
        server.stop();
    });
}

/// By less memory than there was, items go and new ones find room; what is larger than half of a shard's part finds none.
#[test]
fn the_memory_limit_can_be_changed() {
    with_each(|setup| {
        let server = Memcached::start(setup, &["--max-item-size", "8M"]);
        let mut client = server.client();
        let value = "x".repeat(100_000);
        for number in 0..400 {
            client.ask(format!("set key{number} 0 0 100000\r\n{value}\r\n"), "STORED\r\n");
        }
        assert_eq!((client.figure("curr_items"), client.figure("evictions")), (400, 0));
        client.ask("cache_memlimit 8\r\n", "OK\r\n");
        assert_eq!(client.figure("limit_maxbytes"), 8 << 20);
        // The sweep makes room.
        while client.figure("memory_bytes") > (8 << 20) + 65_536 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(client.figure("curr_items") < 84 && client.figure("evictions") > 316);
        let large = "x".repeat(5 << 20);
        client
            .ask(format!("set large 0 0 {}\r\n{large}\r\n", 5 << 20), "SERVER_ERROR out of memory storing object\r\n");
        client.ask(format!("set new 0 0 100000\r\n{value}\r\nget new\r\n"), {
            format!("STORED\r\nVALUE new 0 100000\r\n{value}\r\nEND\r\n")
        });
        client.ask("cache_memlimit 64\r\n", "OK\r\n");
        for number in 0..400 {
            client.ask(format!("set key{number} 0 0 100000\r\n{value}\r\n"), "STORED\r\n");
        }
        assert!(client.figure("curr_items") >= 400, "there is room again");
        server.stop();
    });
}

/// Tools read these.
#[test]
fn all_items_can_be_told() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let mut client = server.client();
        for number in 0..2_000 {
            client.send(format!("set key{number} 0 0 1 noreply\r\nx\r\n"));
        }
        client.ask("ms AP8gYQ== 1 b T1000\r\nx\r\nset dead 0 -1 1\r\nx\r\nget key7\r\n", {
            "HD\r\nSTORED\r\nVALUE key7 0 1\r\nx\r\nEND\r\n"
        });
        client.send("lru_crawler metadump all\r\n");
        // Only the last line ends as others do.
        let told = client.line();
        let mut keys: Vec<String> = told.lines().map(str::to_owned).collect();
        assert_eq!((keys.pop().as_deref(), keys.len()), (Some("END"), 2_001));
        let of = |name: &str| {
            let start = format!("key={name} ");
            keys.iter().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{name} is missing")).clone()
        };
        assert!(
            of("%00%FF%20a").contains(" exp=1")
                && of("key7").contains(" exp=-1 ")
                && of("key7").contains(" fetch=yes ")
        );
        assert!(of("key8").contains(" fetch=no ") && of("key8").ends_with(" size=43"), "{}", of("key8"));
        client.send("lru_crawler mgdump hash\r\n");
        keys = client.lines_until("EN");
        assert!(
            keys.len() == 2_001 && keys.contains(&"mg key7".to_owned()) && keys.contains(&"mg AP8gYQ== b".to_owned())
        );
        client.ask("lru_crawler metadump 62,63\r\nlru_crawler metadump 0\r\n", "END\r\nBADCLASS invalid class id\r\n");
        client.ask("lru_crawler crawl all\r\nlru_crawler crawl all noreply\r\n", "OK\r\n");
        assert_eq!((client.figure("curr_items"), client.figure("expired_unfetched")), (2_001, 1));
        server.stop();
    });
}

#[test]
fn a_unix_socket_is_served() {
    with_each(|setup| {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("memcached.sock");
        let server = Memcached::run(setup, &["-s", path.to_str().expect("a plain path"), "-U", "0"]);
        let mut client = Client(UnixStream::connect(&path).expect("it listens"));
        client.ask("set a 0 0 1\r\nx\r\nget a\r\n", "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
        server.stop();
    });
}

#[test]
fn what_makes_no_sense_is_said() {
    with_each(|setup| {
        for (arguments, words) in [
            (&["--cache-memory", "x"][..], "it must be a number, as 64M or 1G"),
            (&["--cache-memory", "512K"], "--cache-memory must be at least"),
            (&["--max-item-size", "100"], "--max-item-size must be from 1K to 1G"),
            (&["--cache-memory", "64M", "--max-item-size", "60M"], "twice --max-item-size (61440K)"),
            (&["--port", "65536"], "it must be a whole number from 0 to 65535"),
            (&["--max-connections", "0"], "0 is not in 1.."),
            (&["--udp-in-hook"], "--udp-in-hook needs --udp-port"),
            (&["-s", "/nowhere/socket", "-U", "11299"], "--unix-socket listens at a path alone"),
            (&["--udp-budget", "x"], "it must be a number, as 64M or 1G"),
            (&["--port", "0", "-U", "11299", "--udp-in-hook"], "--udp-in-hook needs --network-stack native"),
        ] {
            let output = command(setup, arguments).output().expect("it runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(2) && said.contains(words), "{arguments:?}: {said}");
        }
    });
}

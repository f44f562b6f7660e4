//! What both count under the same names.

use super::binary::{Packet, count_extras, set_extras};
use super::{Both, Side};
use crate::server::with_shards;

/// Figures that are no counts of what clients do, or that count what differs.
const OTHERS: &[(&str, &str)] = &[
    ("pid", "of the process"),
    ("uptime", "of the process"),
    ("time", "of the process"),
    ("version", "it names both"),
    ("rusage_user", "of the process"),
    ("rusage_system", "of the process"),
    ("threads", "as many as shards"),
    ("hash_bytes", "another table"),
    ("hash_power_level", "another table"),
    ("bytes", "other headers of items"),
    ("lrutail_reflocked", "what memcached holds just then"),
    ("curr_items", "dead ones are there until somebody finds them"),
    ("connection_structures", "memcached keeps those of connections that are gone"),
    ("lru_crawler_starts", "memcached starts some by itself"),
    ("lru_crawler_running", "memcached starts some by itself"),
    ("reclaimed", "dead items that somebody looked for, or that were found when there was time, count here too"),
    (
        "expired_unfetched",
        "dead items that somebody looked for, or that were found when there was time, count here too",
    ),
];

/// What the script makes both count, each another number of times, so that none can stand for another.
const COUNTED: &[&str] = &[
    "cmd_get",
    "cmd_set",
    "cmd_flush",
    "cmd_touch",
    "cmd_meta",
    "get_hits",
    "get_misses",
    "get_expired",
    "get_flushed",
    "delete_misses",
    "delete_hits",
    "incr_misses",
    "incr_hits",
    "decr_misses",
    "decr_hits",
    "cas_misses",
    "cas_hits",
    "cas_badval",
    "touch_hits",
    "touch_misses",
    "store_too_large",
    "total_items",
    "total_connections",
    "bytes_read",
    "bytes_written",
];

type Figures = Vec<(String, String)>;

impl Side {
    fn figures(&mut self) -> Figures {
        self.figures_of("stats\r\n")
    }

    fn figures_of(&mut self, question: &str) -> Figures {
        let told = self.ask(question);
        let line = |line: &str| {
            let (name, value) = line.strip_prefix("STAT ")?.split_once(' ')?;
            Some((name.to_owned(), value.to_owned()))
        };
        told.lines().filter_map(line).collect()
    }
}

fn number(figures: &Figures, name: &str) -> i64 {
    let value = figures.iter().find(|(other, _)| other == name).map(|(_, value)| value);
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} is no number: {value:?}"))
}

/// What clients do, each so many times. What expires or is flushed is looked for in the same piece, before anybody else finds it.
///
/// Numbers are not asked for: while memcached takes note of that, it makes another item of what is counted.
fn lines(side: &mut Side) {
    let mut times = |count: usize, text: &str| {
        // What stands behind a tab is asked when the rest was answered.
        (0..count).flat_map(|_| text.split('\t')).for_each(|text| drop(side.ask(text)));
    };
    times(1, "set a 0 0 1\r\nx\r\nset n 0 0 20\r\n1000                \r\nset t 0 0 2\r\nxx\r\n");
    times(11, "touch a 1000\r\n");
    times(30, "get a\r\n");
    times(17, "get none\r\n");
    times(3, "get a none a t\r\n");
    times(2, "mg a v\r\nmg none v\r\nmg none T100\r\n");
    times(1, "mg made N100\r\nmg made2 N100 T200\r\nmg a T100 v\r\n");
    times(5, "touch a 1000\r\ngat 1000 a\r\ngats 1000 a none\r\ntouch none 0\r\n");
    times(2, "touch a 0\r\ntouch none 0\r\ntouch none 1\r\ngat 0 none none\r\n");
    times(6, "set d 0 0 1\r\nx\r\ndelete d\r\n");
    times(8, "delete none\r\n");
    times(2, "ms d 1\r\nx\r\nmd d\r\nmd none\r\nms d 1\r\nx\r\nmd d C1\r\nmd d I\r\nmg d\r\n");
    times(9, "incr n 1\r\nincr none 1\r\n");
    times(4, "incr none 1\r\nincr t 1\r\ndecr t 1\r\nma t\r\n");
    times(23, "decr n 1\r\n");
    times(22, "decr none 1\r\n");
    times(3, "ma n\r\nma n MD\r\nma none\r\nma none MD\r\nma n C1\r\nmd v\r\nma v N0 J5\r\nma v MD N0 J5\r\n");
    times(11, "me a\r\nme none\r\n");
    times(7, "cas none 0 0 1 1\r\nx\r\n");
    times(10, "mg a c\r\n\tcas a 0 0 1 {cas}\r\ny\r\n");
    times(13, "cas a 0 0 1 999999999\r\nx\r\n");
    times(2, "ms a 1 C999999999\r\nx\r\nms none 1 C5\r\nx\r\nms a 1 MA\r\ny\r\n");
    times(2, "add a 0 0 1\r\nx\r\nreplace none 0 0 1\r\nx\r\nappend none 0 0 1\r\nx\r\nreplace a 0 0 1\r\nx\r\n");
    // What is no value counts as one, and what is too large does not.
    times(4, "set bad 0 0 2\r\nhix\r\nms bad 2\r\nhix\r\n");
    times(3, &format!("set a 0 0 1048576\r\n{0}\r\nms a 1048576\r\n{0}\r\n", "x".repeat(1 << 20)));
    times(1, &format!("add b 0 0 1048576\r\n{}\r\nset a 0 0 1\r\nx\r\n", "x".repeat(1 << 20)));
    times(5, "set e 0 -1 1\r\nx\r\nget e\r\nset e 0 -1 1\r\nx\r\nset e 0 -1 1\r\nx\r\ntouch e 0\r\n");
    times(3, "set e 0 -1 1\r\nx\r\nincr e 1\r\nset e 0 -1 1\r\nx\r\ndelete e\r\nset e 0 -1 1\r\nx\r\nme e\r\n");
    times(
        2,
        "flush_all\r\nset f 0 0 1\r\nx\r\nflush_all\r\nget f\r\nset f 0 0 1\r\nx\r\nflush_all\r\nadd f 0 0 1\r\nx\r\n",
    );
    times(1, "flush_all\r\nset f1 0 0 1\r\nx\r\nset f2 0 0 1\r\nx\r\nset f3 0 0 1\r\nx\r\n");
}

/// The same by packets. Of those memcached does not count what is too large.
fn packets() -> Vec<Packet> {
    let new = Packet::new;
    let (set, time) = (set_extras(1, 0), 1000_u32.to_be_bytes());
    let mut packets = vec![new(0x01, &set, "p", "1"), new(0x01, &set, "number", "1"), new(0x11, &set, "text", "x")];
    packets.extend(
        [0x00, 0x09, 0x0c, 0x0d]
            .into_iter()
            .flat_map(|opcode| [new(opcode, &[], "p", ""), new(opcode, &[], "p", ""), new(opcode, &[], "none", "")]),
    );
    packets.extend(
        [0x1c, 0x1d, 0x1e, 0x23, 0x24]
            .into_iter()
            .flat_map(|opcode| [new(opcode, &time, "p", ""), new(opcode, &time, "none", "")]),
    );
    for opcode in [0x05, 0x06, 0x15, 0x16] {
        packets.push(new(opcode, &count_extras(5, 100, 0), "number", ""));
        packets.push(new(opcode, &count_extras(5, 100, 0), "text", ""));
        packets.push(new(opcode, &count_extras(5, 100, u32::MAX), "none", ""));
        packets.push(new(opcode, &count_extras(5, 7, 1000), &format!("n{opcode}"), ""));
        packets.push(new(opcode, &count_extras(5, 7, 1000), &format!("n{opcode}"), "").with_wrong_cas());
    }
    for opcode in [0x01, 0x02, 0x03, 0x0e, 0x0f] {
        let extras: &[u8] = if opcode < 0x0e { &set } else { &[] };
        packets.push(new(opcode, extras, "q", "one"));
        packets.push(new(opcode, extras, "q", "two").with_wrong_cas());
        packets.push(new(opcode, extras, "none2", "two").with_wrong_cas());
    }
    packets.push(new(0x04, &[], "q", "").with_wrong_cas());
    packets.push(new(0x04, &[], "none", ""));
    packets.push(new(0x14, &[], "q", ""));
    packets.push(new(0x08, &[], "", ""));
    packets
}

#[test]
#[ignore = "needs memcached"]
fn figures_are_counted_as_memcached_counts_them() {
    with_shards(|setup| {
        let both = Both::start(setup);
        let mut sides = both.connect();
        let received = sides.each_ref().map(|side| side.received_bytes);
        let before = sides.each_mut().map(Side::figures);
        let sent = sides.each_ref().map(|side| side.sent_bytes);
        for side in &mut sides {
            lines(side);
        }
        let mut other = both.connect();
        for packet in packets() {
            let _ = other.each_mut().map(|side| side.put(&packet));
        }
        let received_later = sides.each_ref().map(|side| side.received_bytes);
        let after = sides.each_mut().map(Side::figures);
        let [theirs, ours] = [0, 1].map(|at| move |name: &str, of: &[Figures; 2]| number(&of[at], name));
        let grown =
            |name: &str| [theirs(name, &after) - theirs(name, &before), ours(name, &after) - ours(name, &before)];
        for (name, _) in &after[0] {
            let is_other = OTHERS.iter().any(|(other, _)| other == name);
            if is_other || !after[1].iter().any(|(other, _)| other == name) {
                continue;
            }
            let [theirs, ours] = grown(name);
            println!("{name} {theirs} {ours}");
            // Unique numbers have other lengths.
            if !name.starts_with("bytes_") {
                assert_eq!(ours, theirs, "{name}");
            }
        }
        let mut seen: Vec<(i64, &str)> = COUNTED.iter().map(|name| (grown(name)[0], *name)).collect();
        seen.sort_unstable();
        assert!(
            seen.iter().all(|(count, _)| *count > 0) && seen.windows(2).all(|pair| pair[0].0 < pair[1].0),
            "{seen:?}"
        );
        for (at, side) in sides.iter().enumerate() {
            let all = side.sent_bytes - sent[at] + other[at].sent_bytes;
            assert_eq!(grown("bytes_read")[at], i64::try_from(all).unwrap(), "{at}");
            let all = received_later[at] - received[at] + other[at].received_bytes;
            assert_eq!(grown("bytes_written")[at], i64::try_from(all).unwrap(), "{at}");
        }
        both.stop();
    });
}

/// Which segment has an item is told by neither in time; what is asked for by what touches is no hit of one.
#[test]
#[ignore = "needs memcached"]
fn classes_are_told_under_memcacheds_names() {
    with_shards(|setup| {
        let both = Both::start(setup);
        let mut sides = both.connect();
        let told = sides.each_mut().map(|side| {
            side.ask("set a 0 0 1\r\nx\r\nget a\r\nget a\r\nmg a v\r\nmg a v T100\r\ngat 100 a\r\ntouch a 100\r\n");
            ["stats items\r\n", "stats slabs\r\n"].map(|question| side.figures_of(question))
        });
        let last = |name: &str| name.rsplit(':').next().expect("a word").to_owned();
        for (theirs, ours) in told[0].iter().zip(&told[1]) {
            let known: Vec<String> = theirs.iter().map(|(name, _)| last(name)).collect();
            let unknown: Vec<_> = ours.iter().filter(|(name, _)| !known.contains(&last(name))).collect();
            assert!(!ours.is_empty() && unknown.is_empty(), "{unknown:?}");
        }
        let hits = told.each_ref().map(|[items, _]| {
            let hits = items.iter().filter(|(name, _)| name.contains(":hits_to_"));
            hits.map(|(name, _)| number(items, name)).sum::<i64>()
        });
        assert_eq!(hits, [3; 2]);
        both.stop();
    });
}

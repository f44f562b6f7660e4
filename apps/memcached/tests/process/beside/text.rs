//! Lines: commands and meta commands.

use super::{Both, Random, Side};
use crate::server::with_shards;

impl Side {
    /// Sends text, in which `{cas}` stands for the unique number that was seen last, and answers with what comes back.
    pub(super) fn ask(&mut self, text: &str) -> String {
        let text = text
            .replace("{cas}", &self.cas.to_string())
            .replace("{cas-1}", &(self.cas - 1).to_string())
            .replace("{cas+1}", &(self.cas + 1_000_000).to_string());
        self.asked += 1;
        // Both at once: who ends the connection leaves nothing that was not read.
        self.send(format!("{text}mg no-such-key Oend-{}\r\n", self.asked).as_bytes());
        let answer = self.until(format!("EN Oend-{}\r\n", self.asked).as_bytes());
        let answer = String::from_utf8_lossy(&answer).into_owned();
        if let Some(cas) = answer.lines().flat_map(str::split_whitespace).find_map(unique) {
            self.cas = cas;
        }
        answer
    }
}

/// A unique number that an answer has.
fn unique(word: &str) -> Option<u64> {
    word.strip_prefix('c').and_then(|number| number.parse().ok()).filter(|number| *number > 0)
}

/// Replaces what must differ: unique numbers, and times that a second makes a difference to.
fn masked(answer: &str) -> String {
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let is_meta = ["HD", "VA", "EN", "NF", "NS", "EX", "ME"].contains(&words[0]);
        let is_value = words[0] == "VALUE" && words.len() == 5;
        let word = |(place, word): (usize, &&str)| {
            let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let begins = |start: &str| word.strip_prefix(start).is_some_and(|rest| is_number(rest.trim_end()));
            match *word {
                "c0" => "c0",
                _ if is_meta && begins("c") => "c#",
                _ if is_meta && begins("t") => "t#",
                _ if is_meta && begins("l") => "l#",
                _ if is_meta && ["exp=-", "la=", "cas=", "cls=", "size="].iter().any(|start| begins(start)) => "#",
                _ if is_value && place == 4 => "#",
                word => word,
            }
            .to_owned()
        };
        words.iter().enumerate().map(word).collect::<Vec<_>>().join(" ")
    };
    answer.split_inclusive("\r\n").map(line).collect()
}

/// The same answers to each text, which may be several lines. What stands behind a tab is asked when the rest was answered.
fn same(both: &Both, texts: &[impl AsRef<str>]) {
    let mut sides = both.connect();
    for text in texts.iter().flat_map(|text| text.as_ref().split('\t')) {
        let [theirs, ours] = sides.each_mut().map(|side| masked(&side.ask(text)));
        assert_eq!(ours, theirs, "{:.200}", text.escape_debug());
        if ours.ends_with("(end)") {
            sides = both.connect();
        }
    }
}

/// One text after the other on the same items.
const META: &[&str] = &[
    // What is there, and what is not.
    "mg a\r\nmg a v\r\nmg a q\r\nmg a k O1 q\r\nmg a k Oabc s t f\r\n",
    "ms a 2\r\nhi\r\nmg a\r\nmg a v\r\nmg a s v t f k Oabc c l h\r\nmg a h l t u\r\n",
    "ms a 2 T0 F5 c k Oxyz\r\nho\r\nmg a f t v\r\nms a 2 q\r\nhi\r\nms a 2 q c k O1\r\nhi\r\n",
    "ms a 0\r\n\r\nmg a v s\r\nms a S2\r\nms a\r\nms\r\nmg\r\nmd\r\nma\r\nme\r\nmx\r\nm\r\nmgg a\r\n",
    "ms h 1\r\nx\r\nmg h h u\r\nmg h h u\r\nmg h h\r\nmg h h\r\nme h\r\nms h 1 T1000\r\nx\r\nme h\r\nme nobody\r\n",
    // Modes.
    "ms e 1 ME\r\n1\r\nms e 1 ME\r\n2\r\nmg e v\r\nms r 1 MR\r\n1\r\nms r 1 MS\r\n1\r\nms r 1 MR F9 T100\r\n2\r\nmg r v f t\r\n",
    "ms p 1 MA\r\n1\r\nms p 1 MP\r\n1\r\nms p 1 F7\r\n5\r\nms p 1 MA F8 c\r\n6\r\nms p 1 MP q\r\n4\r\nmg p v f s\r\n",
    "ms p 1 MX\r\n1\r\nms p 1 MSS\r\n1\r\nms p 1 M\r\n1\r\nmg p MX\r\nmg p MXX\r\nma p MX\r\nmd p MX\r\n",
    // Unique numbers.
    "ms c 1 c\r\n1\r\n",
    "ms c 1 C{cas+1} k\r\n2\r\nms c 1 C{cas} c O1\r\n3\r\n",
    "ms c 1 C{cas} MR c\r\n4\r\n",
    "ms c 1 C0\r\n5\r\nms none 1 C5 c\r\n5\r\nms none 1 C0 c\r\n5\r\nms none 1 C5 MR\r\n5\r\nms none 1 C5 MA\r\n5\r\n",
    "ms c 1 C{cas+1} MA\r\n6\r\nms c 1 C{cas} MA c\r\n7\r\n",
    "ms c 1 C{cas} ME\r\n8\r\nms c 1 C0 MP c\r\n9\r\nmg c v c\r\n",
    "md c C1 k O5\r\nmd c C0\r\nmd c C{cas} k O5\r\nmd c k O6 q\r\nmd c q\r\nms c 1\r\nx\r\nmd c q k\r\nmg c\r\n",
    // Stale items, and who renews them.
    "ms s 1 F3\r\n1\r\nmd s I T1000\r\nmg s v t f\r\nmg s v\r\nmg s\r\nms s 1\r\n2\r\nmg s v\r\n",
    "md s I q\r\nmd none I\r\nmg s u\r\nmg s u\r\nmd s I\r\nmg s\r\nms s 1 c\r\n1\r\n",
    "ms s 1 C{cas-1} I T500 c\r\n2\r\n",
    "mg s v t c\r\nmg s v t c\r\n",
    "ms s 1 C{cas-1} I c\r\n3\r\n",
    "mg s v t\r\nms s 1 C{cas+1} I\r\n4\r\nms s 1 C{cas} I c\r\n4\r\nmg s v\r\n",
    // Items that are made where there are none, and those that are renewed in time.
    "mg v N1000 s v c t k O1\r\nmg v N1000 s v t\r\nmg v v\r\nms v 1\r\n1\r\nmg v N30 v\r\n",
    "mg w t N1000 t\r\nmg w2 N0 t\r\nmg w3 N-1 t\r\nmg w3\r\nmg w4 N1000 T2000 t\r\nmg w5 T2000 N1000 t\r\n",
    "ms x 1 T1000\r\n1\r\nmg x R30\r\nmg x R2000\r\nmg x R2000\r\nms x 1\r\n1\r\nmg x R2000\r\nmg x t T1000 R2000 t\r\n",
    "ms x 1 T1000\r\n1\r\nmg x R2000 T5000\r\nmg x t\r\nms x 1 T1000\r\n1\r\nmg x T5000 R2000\r\nmg x R0\r\nmg x R-1\r\n",
    "mg x T-1\r\nmg x\r\nms x 1 T-1\r\n1\r\nmg x\r\n",
    // Numbers.
    "ma n\r\nma n q\r\nma n N0 J15\r\nma n v\r\nma n D10 v t c k O1\r\nma n MD v\r\nma n M- D100 v\r\nma n M+ v\r\nma n MI v\r\n",
    "ma n q\r\nma n q v\r\nma m N0 q\r\nma m2 N1000 J5 q v t\r\nmg m2 t\r\nma n T1000 t\r\nmg n t v\r\nmg m v\r\n",
    "ma n c v\r\n",
    "ma n C{cas} v c k\r\nma n C1 v k O8\r\nma n C0 v\r\nma none C7\r\n",
    "ms t 2\r\nxx\r\nma t\r\nma t q\r\nms t 0\r\n\r\nma t\r\nma t C5\r\nma n D18446744073709551615 v\r\nma n Jx\r\nma n Dx\r\n",
    "ma p N0 J+5 v\r\nma p D+2 v\r\nma p D++2\r\nms p 1 F+7 T+0\r\n9\r\nmg p f t c\r\n",
    "ma p C+{cas} v c\r\nms p +1\r\n9\r\nmg p v\r\n",
    // Keys in base64.
    "ms Zm9v 3 b k\r\nbar\r\nmg Zm9v b k v\r\nmg foo k v\r\nget foo\r\nmg Zm9v b\r\nme Zm9v b\r\nmd Zm9v b k\r\nmg Zm9v b k O1\r\n",
    "ms AAECAwQF 1 b\r\nx\r\nmg AAECAwQF b k\r\nma AAECAwQF b k\r\nmd AAECAwQF b k q\r\nmg AAECAwQF b k\r\nma AAECAwQF b k\r\n",
    "ms Zh== 1 b k\r\nx\r\nmg Zg== b k v\r\nmg f k v\r\nms Zm9= 1 b k\r\ny\r\nmg Zm8= b k v\r\nmd Zn== b k\r\nmg f k\r\n",
    "mg Zm9 b\r\nmg = b\r\nmg ==== b\r\nme Zm9 b\r\nms Zm9 2 b\r\nhi\r\nmd Zm9 b\r\nma Zm9 b\r\n",
    // What is malformed.
    "mg a v v\r\nmg a !\r\nmg a vv\r\nmg a Tx\r\nmg a T\r\nmg a Nx Rx\r\nmg a Cx\r\nmg a Fx\r\nmg a Tx Fx\r\nmg a Fx Tx\r\n",
    "ms a 2 v v\r\nhi\r\nms a 2 !\r\nhi\r\nms a 2 Tx\r\nhi\r\nms a 2 Fx\r\nhi\r\nms a 2 Cx q\r\nhi\r\nms a x\r\nms a -1\r\n",
    "md a v v\r\nmd a !\r\nmd a Cx\r\nma a v v\r\nma a Tx\r\nmg a \u{e9}\r\n",
    "mg a O1234567890123456789012345678901\r\nmg a O12345678901234567890123456789012\r\n",
    "ms a 2 O12345678901234567890123456789012\r\nhi\r\nmd a O12345678901234567890123456789012\r\nmg a P1 Lx v\r\n",
    "ms a 2\r\nhix\r\nms a 2 q\r\nhix\r\nmg a v\r\n",
    "mg a b c f h k l s t u v q O1 P L N1 R1 T1 D1 J1\r\nmg a b c f h k l s t u v q O1 P L N1 R1 T1 D1\r\n",
    "md a b c f h k l s t u v q O1 P L N1 R1 T1 D1\r\n",
];

#[test]
#[ignore = "needs memcached"]
fn meta_commands_are_answered_as_memcached_does() {
    with_shards(|setup| {
        let both = Both::start(setup);
        same(&both, META);
        let (most, long) = ("k".repeat(250), "k".repeat(251));
        let coded = "QUFB".repeat(62);
        same(
            &both,
            &[
                format!("ms {most} 1 k\r\nx\r\nmg {most} k v\r\nmg {long}\r\nmd {long}\r\nma {long}\r\nme {long}\r\n"),
                format!("ms {coded} 1 b k\r\nx\r\nmg {coded} b k v\r\n"),
                format!("ms big 1048576 q\r\n{}\r\nmg big\r\n", "x".repeat(1 << 20)),
                format!("ms a 2 T1000\r\nhi\r\nms a 1048576\r\n{}\r\nmg a\r\n", "x".repeat(1 << 20)),
            ],
        );
        both.stop();
    });
}

/// Commands and what is wrong with them.
const CLASSIC: &[&str] = &[
    "\r\n",
    "\n",
    " \r\n",
    "x\r\n",
    "what\r\n",
    "what is this\r\n",
    "GET a\r\n",
    "set\r\n",
    "get\r\n",
    "gets\r\n",
    "gat\r\n",
    "gats\r\n",
    "set a 5 0 2\r\nhi\r\nget a\r\ngets a\r\nget a b a\r\n",
    "set a 0 0 0\r\n\r\nget a\r\n",
    "bget a\r\n",
    "set a 4294967295 0 1\r\nx\r\nget a\r\n",
    "set a 0 1000 1\r\nx\r\nget a\r\nset a 0 -1 1\r\nx\r\nget a\r\n",
    "add a 0 0 1\r\n1\r\nadd a 0 0 1\r\n2\r\nreplace a 7 0 1\r\n3\r\nreplace none 0 0 1\r\n3\r\nget a\r\n",
    "append a 9 0 1\r\n4\r\nprepend a 9 0 1\r\n2\r\nappend none 0 0 1\r\n4\r\nprepend none 0 0 1\r\n4\r\nget a\r\n",
    "cas a 0 0 1 0\r\nx\r\ncas none 0 0 1 1\r\nx\r\ncas a 0 0 1 99999999\r\nx\r\nmg a c\r\n",
    "cas a 1 0 1 {cas}\r\n8\r\nget a\r\n",
    "cas a 0 0 1\r\n",
    "cas a 0 0 1 1 2 3\r\n",
    "set a 0 0\r\n",
    "set a 0 0 1 2 3\r\n",
    "set a 0 0 -1\r\n",
    "set a 0 0 +9\r\nflush_all\r\n",
    "set a 0 0 x\r\n",
    "set a 0 0 1x\r\n",
    "set a 0 0 2147483647\r\n",
    "set a 0 0 -1 noreply\r\n",
    "set a 0 0 1 noreply\r\nx\r\n",
    "set a 0 0 1 what\r\nx\r\n",
    "add a 0 0 1 noreply\r\nx\r\n",
    "replace none 0 0 1 noreply\r\nx\r\n",
    "append none 0 0 1 noreply\r\nx\r\n",
    "cas a 0 0 1 1 noreply\r\nx\r\nget a\r\n",
    "set a 0 0 2\r\nhix\r\n",
    "set a 0 0 2 noreply\r\nhix\r\n",
    "set a 0 0 1\r\nx\n\r\n",
    "set n 3 0 2\r\n10\r\nincr n 5\r\ndecr n 6\r\nget n\r\ndecr n 100\r\nincr n 18446744073709551615\r\nincr n 1\r\nget n\r\n",
    "incr none 1\r\ndecr none 1\r\nincr n\r\nincr n x\r\nincr n -1\r\ndecr n 18446744073709551616\r\nincr n 1 2 3\r\nincr n 1 what\r\n",
    "incr n 1 noreply\r\nincr none 1 noreply\r\nincr n x noreply\r\nget n\r\nset t 0 0 2\r\nxx\r\nincr t 1\r\nincr t 1 noreply\r\n",
    "set t 0 0 0\r\n\r\nincr t 1\r\nset t 0 0 20\r\n18446744073709551616\r\nincr t 1\r\nset t 0 0 3\r\n7  \r\nincr t 1\r\nget t\r\n",
    "set b 0 0 1\r\n5\r\nincr b +1\r\ndecr b +0\r\nincr b ++1\r\nincr b +\r\nincr b +-1\r\nmg b c\r\n",
    "cas b 0 0 1 +{cas}\r\n7\r\nget b\r\nset b +3 +0 +1\r\n7\r\nget b\r\nverbosity +1\r\ncache_memlimit +64\r\n",
    "set b 0 0 3\r\n 05\r\nincr b 1\r\nget b\r\nset b 0 0 2\r\n+5\r\nincr b 1\r\nget b\r\nset b 0 0 5\r\n \u{c}+5 \r\nincr b 7\r\nget b\r\n",
    "set b 0 0 3\r\n+-5\r\nincr b 1\r\nset b 0 0 3\r\n+ 5\r\nincr b 1\r\nset b 0 0 1\r\n+\r\nincr b 1\r\nset b 0 0 3\r\n   \r\nincr b 1\r\n",
    "touch a 1000\r\ntouch none 1\r\ntouch a x\r\ntouch a\r\ntouch a 1 2 3\r\ntouch a 0 noreply\r\ntouch a x noreply\r\nmg a t\r\n",
    "gat 1000 a none t\r\ngats 0 a\r\nmg a t\r\ngat 0\r\ngat x a\r\ngat -1 a\r\nget a\r\n",
    "delete a\r\ndelete a\r\nset a 0 0 1\r\nx\r\ndelete a noreply\r\nget a\r\ndelete a 0\r\ndelete a 0 noreply\r\ndelete a 10\r\n",
    "delete a 10 noreply\r\ndelete a x y\r\ndelete a 1 2 3\r\ndelete\r\ndelete a noreply noreply\r\n",
    "verbosity\r\nverbosity 1\r\nverbosity x\r\nverbosity 1 noreply\r\nverbosity x noreply\r\nverbosity noreply\r\nverbosity 1 2 3\r\nverbosity 1 2\r\nverbosity 0\r\n",
    "cache_memlimit\r\ncache_memlimit x\r\ncache_memlimit x noreply\r\ncache_memlimit 7\r\ncache_memlimit 7 noreply\r\ncache_memlimit 64\r\n",
    "cache_memlimit 64 noreply\r\ncache_memlimit 64 what\r\ncache_memlimit 1000000001\r\ncache_memlimit 64 1 2\r\n",
    "set f 0 0 1\r\nx\r\nflush_all 1000\r\nget f\r\nflush_all x\r\nflush_all x noreply\r\nflush_all 0 0 0\r\nflush_all 1000 what\r\nget f\r\n",
    "flush_all noreply\r\nget f\r\nset f 0 0 1\r\nx\r\nflush_all\r\nget f\r\nflush_all -1\r\nflush_all 0 noreply\r\n",
    "stats detail\r\nstats detail what\r\nstats detail off\r\nstats reset\r\nstats nothing\r\n",
    "mn\r\nmn what\r\n",
    // What is done by hand there.
    "shutdown\r\nshutdown graceful\r\nslabs\r\nslabs what\r\nslabs reassign\r\nslabs reassign 1\r\nslabs automove\r\nlru\r\nlru what\r\n",
    "lru_crawler\r\nlru_crawler what\r\nlru_crawler enable\r\nlru_crawler crawl\r\nlru_crawler crawl x\r\nlru_crawler metadump\r\n",
    "lru_crawler metadump x\r\n\tlru_crawler metadump 64\r\n\tlru_crawler metadump 1,x\r\n\tlru_crawler crawl all\r\n",
    "lru_crawler sleep\r\nlru_crawler tocrawl\r\n",
    "get   a    b\r\n  get a\r\n",
    "get a\nget a\n",
    "quit\r\nset q 0 0 1\r\nx\r\n",
    "get q\r\n",
    "quit what\r\n",
    // What a browser sends is none of our business.
    "POST / HTTP/1.1\r\nset q 0 0 1\r\nx\r\n",
    "get q\r\n",
    "OPTIONS * HTTP/1.0\r\n",
    "POST / http/1.1\r\n",
    "POST / HTTP/1.1 x\r\n",
];

#[test]
#[ignore = "needs memcached"]
fn commands_are_answered_as_memcached_does() {
    with_shards(|setup| {
        let both = Both::start(setup);
        same(&both, CLASSIC);
        let (most, long) = ("k".repeat(250), "k".repeat(251));
        let large = "x".repeat(1 << 20);
        same(
            &both,
            &[
                format!(
                    "set {most} 0 0 1\r\nx\r\nget {most} a\r\n\tget a {long}\r\n\tgets {long} a\r\n\tgat 0 {long}\r\n"
                ),
                format!(
                    "delete {long}\r\nincr {long} 1\r\ntouch {long} 1\r\ntouch {long} 1 noreply\r\ndelete {long} noreply\r\n"
                ),
                format!(
                    "set a 0 0 1\r\nx\r\nset a 0 0 1048576\r\n{large}\r\nget a\r\nadd a 0 0 1048576 noreply\r\n{large}\r\n"
                ),
                format!("set a 0 0 1\r\nx\r\nreplace a 0 0 1048576\r\n{large}\r\nget a\r\n"),
                format!("set a 0 0 500000\r\n{}\r\nget a a\r\nappend a 0 0 2\r\nyy\r\nget a\r\n", &large[..500_000]),
                format!("get{}\r\n", " n none".repeat(5_000)),
                format!("  get{}\r\n", " n none".repeat(30)),
            ],
        );
        both.stop();
    });
}

/// By what it may have besides: flags, and a longer key.
#[test]
#[ignore = "needs memcached"]
fn the_largest_value_is_that_of_memcached() {
    with_shards(|setup| {
        let both = Both::start(setup);
        let text = "x".repeat(1 << 20);
        for (key, flags, most) in [("a", 0, 1_048_516), ("a", 5, 1_048_512), ("key", 0, 1_048_514)] {
            for len in [most, most + 1] {
                let (value, rest) = (&text[..len], &text[..len - 2]);
                same(
                    &both,
                    &[
                        format!("set {key} {flags} 0 {len}\r\n{value}\r\nmg {key} s f\r\n"),
                        format!("ms {key} {len} F{flags}\r\n{value}\r\nmg {key} s f\r\n"),
                        format!(
                            "set {key} {flags} 0 {}\r\n{rest}\r\nappend {key} 0 0 2\r\nyy\r\nmg {key} s f\r\n",
                            len - 2
                        ),
                    ],
                );
            }
        }
        both.stop();
    });
}

/// A line, and its value if it has one.
fn random_request(random: &mut Random) -> String {
    let name = random.pick(&["a", "b", "c", "d"]);
    let value = random.pick(&["", "x", "hello", "0", "a somewhat longer value with spaces"]);
    let len = value.len();
    let time = random.pick(&["0", "1000", "-1", "5000"]);
    let noreply = random.pick(&["", "", "", " noreply"]);
    let verb = random.pick(&["set", "set", "add", "replace", "append", "prepend"]);
    let number = random.pick(&["1", "0", "7", "4294967296", "18446744073709551615", "x", "-1"]);
    // Numbers of one length: what gets longer is another item, of which memcached keeps less.
    let digits = format!("{:<20}", random.below(1_000_000));
    match random.below(24) {
        0..3 => format!("{verb} {name} {} {time} {len}{noreply}\r\n{value}\r\n", random.below(9)),
        3 => format!("get {name} e {name}\r\n"),
        4 => format!("gat {time} {name}\r\n"),
        5 => format!("mg {name} c u\r\n\tcas {name} 1 {time} {len} {{cas}}{noreply}\r\n{value}\r\n"),
        6 => format!("delete {name}{noreply}\r\n"),
        7 => format!("touch {name} {time}{noreply}\r\n"),
        8 => format!("set n 0 0 20{noreply}\r\n{digits}\r\n"),
        9 => format!("{} n {number}{noreply}\r\n", random.pick(&["incr", "decr"])),
        10 => "incr n 0\r\nmg n t c\r\n".to_owned(),
        11..14 => format!(
            "mg {name}{}\r\n",
            random_flags(random, &["v", "s", "t", "f", "k", "O7", "q", "u", "T1000", "T0", "T-1"])
        ),
        14..16 => format!(
            "mg {name}{}\r\n",
            random_flags(random, &["v", "s", "t", "f", "k", "N1000", "N0", "R30", "R3000", "T2000", "c", "q"])
        ),
        16..19 => {
            let flags = random_flags(
                random,
                &["k", "O8", "q", "T1000", "T0", "F6", "c", "I", "MS", "C{cas}", "C{cas-1}", "C{cas+1}"],
            );
            format!("mg {name} c u\r\n\tms {name} {len}{flags}\r\n{value}\r\n")
        }
        19 => {
            let mode = random.pick(&["ME", "MA", "MP", "MR", "MS", "MX"]);
            let flags = random_flags(random, &["k", "q", "T1000", "F3", "c", "C{cas}", "C{cas+1}"]);
            format!("mg {name} c u\r\n\tms {name} {len} {mode}{flags}\r\n{value}\r\n")
        }
        20..22 => format!(
            "mg {name} c u\r\n\tmd {name}{}\r\n",
            random_flags(random, &["q", "k", "O9", "I", "I", "T1000", "C{cas}", "C{cas+1}"])
        ),
        22 => {
            let flags = random_flags(random, &["v", "t", "c", "k", "q", "MD", "D5", "C{cas}", "C{cas+1}"]);
            format!("mg n c u\r\n\tma n{flags}\r\n")
        }
        _ => format!("mg {name} c u\r\n\tms {name} {len} C{{cas-1}} I\r\n{value}\r\nmg {name} v t\r\n"),
    }
}

/// Some flags in some order, seldom one twice.
fn random_flags(random: &mut Random, of: &[&str]) -> String {
    (0..random.below(6)).map(|_| format!(" {}", random.pick(of))).collect()
}

#[test]
#[ignore = "needs memcached"]
fn random_requests_are_answered_as_memcached_does() {
    with_shards(|setup| {
        let both = Both::start(setup);
        for seed in 0..4 {
            println!("seed {seed}");
            let mut random = Random(seed);
            let requests: Vec<String> = (0..600).map(|_| random_request(&mut random)).collect();
            same(&both, &[["flush_all\r\n".to_owned()].to_vec(), requests].concat());
        }
        both.stop();
    });
}

//! Where this server answers otherwise than memcached 1.6.18 on purpose.

use super::Both;
use crate::server::with_shards;

/// What is asked, what memcached answers, and what this server does.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    // The value of a refused command is no command: who chooses values must not choose commands.
    (
        "set a x 0 9\r\nget other\r\n",
        "CLIENT_ERROR bad command line format\r\nEND\r\n",
        "CLIENT_ERROR bad command line format\r\n",
    ),
    (
        "ms a 2 b c f h k l s t u v q O1 P L N1 R1 T1 D1 I\r\nmn\r\n",
        "CLIENT_ERROR options flags too long\r\nMN\r\n",
        "CLIENT_ERROR options flags too long\r\n",
    ),
    // Numbers that don't fit are refused, and not cut off.
    ("set a 4294967296 0 0\r\n\r\n", "STORED\r\n", "CLIENT_ERROR bad command line format\r\n"),
    // A number is digits, with spaces behind them at most.
    (
        "set a 0 0 5\r\n12 34\r\nincr a 1\r\n",
        "STORED\r\n13\r\n",
        "STORED\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
    ),
    (
        "set a 0 0 1\r\n1\r\nincr a -0\r\n",
        "STORED\r\n1\r\n",
        "STORED\r\nCLIENT_ERROR invalid numeric delta argument\r\n",
    ),
    // What base64 does not have is no part of a key.
    ("mg Zm9v! b k\r\n", "EN kZm9v b\r\n", "CLIENT_ERROR error decoding key\r\n"),
    // A key that no line can carry as it is becomes no part of one, whoever has stored it.
    ("ms a\u{7f}b 1\r\nx\r\nmg a\u{7f}b k\r\n", "HD\r\nHD ka\u{7f}b\r\n", "HD\r\nHD kYX9i b\r\n"),
    // What was refused has done nothing.
    (
        "md a\r\nmg a N0 O12345678901234567890123456789012\r\nmg a\r\n",
        "HD\r\nCLIENT_ERROR opaque token too long\r\nHD\r\n",
        "HD\r\nCLIENT_ERROR opaque token too long\r\nEN\r\n",
    ),
    // A key that was sent in base64 stays one, whatever becomes of the value by commands that say so.
    ("ms enp6 1 b\r\n9\r\nma enp6 b\r\nmg enp6 b k\r\n", "HD\r\nHD\r\nHD kzzz\r\n", "HD\r\nHD\r\nHD kenp6 b\r\n"),
    ("mg eXl5 b k N0\r\n", "HD kyyy W\r\n", "HD keXl5 b W\r\n"),
    // A time is not lost when a number gets longer.
    (
        "ms l 1\r\n9\r\nma l T0 D9\r\nma l T1000 D90\r\nmg l t\r\n",
        "HD\r\nHD\r\nHD\r\nHD t-1\r\n",
        "HD\r\nHD\r\nHD\r\nHD t1000\r\n",
    ),
    // What was counted or stands in the way of another one was asked for.
    ("ms h 1\r\n9\r\nma h D0\r\nmg h h\r\n", "HD\r\nHD\r\nHD h0\r\n", "HD\r\nHD\r\nHD h1\r\n"),
    // A flush that is still to come does not bring back what was flushed before.
    (
        "set f 0 0 1\r\nx\r\nflush_all\r\nflush_all 1000\r\nget f\r\n",
        "STORED\r\nOK\r\nOK\r\nVALUE f 0 1\r\nx\r\nEND\r\n",
        "STORED\r\nOK\r\nOK\r\nEND\r\n",
    ),
    // Only a value that would have replaced another one makes that one go.
    (
        "ms g 1\r\nx\r\nms g 1048576 ME\r\nLARGE\r\nmg g v\r\n",
        "HD\r\nSERVER_ERROR object too large for cache\r\nEN\r\n",
        "HD\r\nSERVER_ERROR object too large for cache\r\nVA 1\r\nx\r\n",
    ),
    // The store looks after itself, and a client has no say in that.
    (
        "slabs reassign 1 2\r\n",
        "NOSPARE source class has no spare pages\r\n",
        "CLIENT_ERROR slab reassignment disabled\r\n",
    ),
    ("slabs automove 1\r\n", "OK\r\n", "CLIENT_ERROR there is no such setting\r\n"),
    ("lru mode segmented\r\n", "OK\r\n", "CLIENT_ERROR there is no such setting\r\n"),
    ("lru tune 10 25 0.1 2.0\r\n", "OK\r\n", "CLIENT_ERROR there is no such setting\r\n"),
    ("lru temp_ttl 60\r\n", "OK\r\n", "CLIENT_ERROR there is no such setting\r\n"),
    ("lru_crawler sleep 100\r\n", "OK\r\n", "CLIENT_ERROR there is no such setting\r\n"),
    ("lru_crawler tocrawl 5\r\n", "OK\r\n", "CLIENT_ERROR there is no such setting\r\n"),
    // What was asked for before does not stand in the way.
    (
        "lru_crawler what\r\nlru_crawler metadump x\r\n",
        "ERROR\r\nERROR cannot pipeline other commands before metadump\r\n",
        "ERROR\r\nBADCLASS invalid class id\r\n",
    ),
    ("lru_crawler disable\r\n", "OK\r\n", "ERROR failed to stop lru crawler thread\r\n"),
    // A later version of it has this one.
    ("flush_all\r\nlru_crawler mgdump all\r\n", "OK\r\nERROR\r\n", "OK\r\nEN\r\n"),
    // What happens here is not told while it happens.
    ("watch what\r\n", "ERROR\r\n", "CLIENT_ERROR watch commands not allowed\r\n"),
    // What no command line can be is told, and not only the end of the connection.
    ("TAIL", "(end)", "CLIENT_ERROR line too long\r\n(end)"),
];

#[test]
#[ignore = "needs memcached"]
fn differences_are_those_that_are_meant() {
    with_shards(|setup| {
        let both = Both::start(setup);
        for (question, theirs, ours) in DIFFERENCES {
            let question = question.replace("LARGE", &"x".repeat(1 << 20));
            let question = question.replace("TAIL", &"x".repeat(20_000));
            let [original, own] = both.connect().map(|mut side| side.ask(&question));
            assert_eq!((&*original, &*own), (*theirs, *ours), "{question:.200?}");
        }
        both.stop();
    });
}

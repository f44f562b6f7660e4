//! Scripts of the server's side: lines, and what they are or why they are refused.

use sunstar_packet::Buffer;

use crate::{Direction, Endpoint, Limits, Output, Refusal, Reply, Request, ServerConnection, StorageVerb};

fn server() -> ServerConnection {
    Endpoint::new(Limits::DEFAULT).accept()
}

fn requests(text: &[u8]) -> Vec<Request> {
    let mut server = server();
    server.handle_input(Buffer::copy_from_slice(text)).unwrap();
    core::iter::from_fn(|| server.poll_request()).collect()
}

/// The lines with which a server answers what can't be done, and words for what can.
fn told(text: impl AsRef<[u8]>) -> Vec<String> {
    let tell = |request: &Request| match request {
        Request::Refused { noreply: true, .. } => "silence".to_owned(),
        Request::Refused { refusal, .. } => refusal.line().to_owned(),
        Request::Store(command, value) => format!("{} {}", command.verb.name(), value.len()),
        Request::Retrieve { command, keys, .. } => format!("{} {}", command.name(), keys.iter().count()),
        Request::Delete { .. } => "delete".to_owned(),
        Request::Count { direction, by, .. } => format!("{} {by}", direction.name()),
        Request::Touch { exptime, .. } => format!("touch {exptime}"),
        Request::FlushAll { exptime, noreply } => format!("flush_all {exptime} {noreply}"),
        other => format!("{other:?}"),
    };
    requests(text.as_ref()).iter().map(tell).collect()
}

/// What is sent on, as the other side gets it.
fn sent(output: &mut Output) -> Vec<u8> {
    let mut out: Vec<Buffer> = Vec::new();
    let count = output.poll_transmit(&mut out);
    let bytes = out.concat();
    assert!(count == bytes.len() && output.is_empty());
    bytes
}

#[test]
fn every_command_is_read() {
    let storage = requests(b"set k 7 -1 1\r\na\r\ncas k 1 2 1 18446744073709551615 noreply\r\nb\r\n");
    let [Request::Store(set, a), Request::Store(cas, b)] = &storage[..] else { panic!("{storage:?}") };
    assert!(set.key == b"k"[..] && (set.flags, set.exptime, set.noreply) == (7, -1, false) && *a == b"a"[..]);
    assert!(cas.verb == StorageVerb::Cas(u64::MAX) && cas.noreply && *b == b"b"[..]);

    assert_eq!(
        told("add k 0 0 0\r\n\r\nreplace k 0 0 1\r\n\n\r\nappend k 0 0 2\r\n\r\n\r\nprepend k 0 0 1\r\nx\r\n"),
        ["add 0", "replace 1", "append 2", "prepend 1"]
    );
    assert_eq!(
        told("get a\r\n  get  a  b \r\ngets a b c\ngat 5 a\r\ngats 5 a b\r\ngat 1\r\n"),
        ["get 1", "get 2", "gets 3", "gat 1", "gats 2", "gat 0"]
    );
    assert_eq!(
        told("delete k\r\ndelete k 0\r\ndelete k noreply\r\nincr k 1\r\ndecr k 2 noreply\r\ntouch k 9\r\n"),
        ["delete", "delete", "delete", "incr 1", "decr 2", "touch 9"]
    );
    assert_eq!(
        told("flush_all\r\nflush_all 0 noreply\r\nflush_all noreply\r\nflush_all 30\r\n"),
        ["flush_all 0 false", "flush_all 0 true", "flush_all 0 true", "flush_all 30 false"]
    );
    let [Request::Count { direction: Direction::Increment, key, by: 5, noreply: true }] =
        &requests(b"incr k 5 noreply\r\n")[..]
    else {
        panic!("no increment")
    };
    assert_eq!(*key, b"k"[..]);
    let other = requests(b"version\r\nverbosity 1\r\nstats items  x\r\ncache_memlimit 64\r\nmn\r\nquit\r\nversion\r\n");
    assert!(
        matches!(&other[..], [
            Request::Version,
            Request::Verbosity { noreply: false },
            Request::Stats(parameters),
            Request::CacheMemlimit { mebibytes: 64, noreply: false },
            Request::MetaNoop,
            Request::Quit,
        ] if *parameters == b"items  x"[..]),
        "{other:?}"
    );
}

#[test]
fn numbers_may_have_a_plus() {
    assert_eq!(told("incr k +1\r\ndecr k +0\r\ncas k +7 +0 +1 +9\r\nx\r\n"), ["incr 1", "decr 0", "cas 1"]);
    assert_eq!(told("verbosity +1\r\ncache_memlimit +64\r\n").len(), 2);
    for line in ["incr k ++1", "incr k +", "incr k -1", "incr k 1+", "incr k +18446744073709551616"] {
        assert_eq!(told(format!("{line}\r\n")), ["CLIENT_ERROR invalid numeric delta argument"], "{line}");
    }
}

/// What memcached 1.6 answers, but that values of refused commands are skipped and not read as commands.
#[test]
fn what_is_malformed_is_refused_as_memcached_does() {
    const FORMAT: &str = "CLIENT_ERROR bad command line format";
    const EXPTIME: &str = "CLIENT_ERROR invalid exptime argument";
    let long = "k".repeat(251);
    for (line, answer) in [
        ("", "ERROR"),
        ("what", "ERROR"),
        ("SET k 0 0 1", "ERROR"),
        ("get", "ERROR"),
        ("get ", "ERROR"),
        ("gat", "ERROR"),
        ("gat x k", EXPTIME),
        (&format!("get a {long} b"), FORMAT),
        ("set k 0 0", "ERROR"),
        ("set k 0 0 1 2 3", "ERROR"),
        ("cas k 0 0 1", "ERROR"),
        ("set k 0 0 -1", FORMAT),
        ("set k 0 0 x", FORMAT),
        ("set k 0 0 2147483646", FORMAT),
        ("set k 0 0 -1 noreply", "silence"),
        ("incr k", "ERROR"),
        ("incr k 1 2 3", "ERROR"),
        ("incr k x", "CLIENT_ERROR invalid numeric delta argument"),
        ("incr k -1", "CLIENT_ERROR invalid numeric delta argument"),
        ("decr k 18446744073709551616", "CLIENT_ERROR invalid numeric delta argument"),
        (&format!("incr {long} 1"), FORMAT),
        ("touch k", "ERROR"),
        ("touch k x", EXPTIME),
        ("touch k x noreply", "silence"),
        (&format!("touch {long} 1"), FORMAT),
        ("delete", "ERROR"),
        ("delete k 1", "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]"),
        ("delete k 1 noreply", "silence"),
        ("delete a b c d", "ERROR"),
        (&format!("delete {long}"), FORMAT),
        ("flush_all x", EXPTIME),
        ("flush_all 0 0 0", "ERROR"),
        ("verbosity", "ERROR"),
        ("verbosity x", FORMAT),
        ("cache_memlimit", "ERROR"),
        ("cache_memlimit x", "ERROR"),
        ("cache_memlimit x noreply", "silence"),
        ("verbosity 1 2 3", "ERROR"),
        ("mx k", "ERROR"),
        ("cache_memlimit 7", "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m"),
        ("cache_memlimit 1000000001", "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes"),
    ] {
        assert_eq!(told(format!("{line}\r\nversion\r\n")), [answer, "Version"], "{line:.50}");
    }
}

#[test]
fn what_is_done_by_hand_elsewhere_is_answered() {
    const SETTING: &str = "CLIENT_ERROR there is no such setting";
    const CLASS: &str = "BADCLASS invalid class id";
    for (line, answer) in [
        ("shutdown", "ERROR: shutdown not enabled"),
        ("watch", "CLIENT_ERROR watch commands not allowed"),
        ("watch fetchers mutations", "CLIENT_ERROR watch commands not allowed"),
        ("slabs reassign 1 2", "CLIENT_ERROR slab reassignment disabled"),
        ("slabs automove 1", SETTING),
        ("slabs", "ERROR"),
        ("lru mode flat", SETTING),
        ("lru tune 10 25 0.1 2.0", SETTING),
        ("lru what", "ERROR"),
        ("lru_crawler enable", "ERROR failed to start lru crawler thread"),
        ("lru_crawler disable", "ERROR failed to stop lru crawler thread"),
        ("lru_crawler sleep 100", SETTING),
        ("lru_crawler crawl 0", CLASS),
        ("lru_crawler crawl 1,2", "Crawl { noreply: false }"),
        ("lru_crawler crawl all noreply", "Crawl { noreply: true }"),
        ("lru_crawler metadump 1,3", "List { form: Facts, classes: 10 }"),
        ("lru_crawler metadump 64", CLASS),
        ("lru_crawler metadump 1,,2", CLASS),
        ("lru_crawler mgdump all", "List { form: Requests, classes: 18446744073709551615 }"),
        ("lru_crawler", "ERROR"),
    ] {
        assert_eq!(told(format!("{line}\r\nversion\r\n")), [answer, "Version"], "{line}");
    }
}

/// Whoever leads a browser here can choose what follows its line.
#[test]
fn a_browser_is_not_answered() {
    for line in ["GET / HTTP/1.1", "POST /x y HTTP/1.0", "OPTIONS * HTTP/1.1"] {
        let answers = told(format!("{line}\r\nset k 0 0 1\r\nx\r\n"));
        assert_eq!(answers, ["Quit"], "{line}");
    }
    assert_eq!(told("POST / HTTP/1.1 x\r\nversion\r\n"), ["ERROR", "Version"]);
}

#[test]
fn a_refused_value_is_no_command() {
    let long = "k".repeat(251);
    for line in
        ["set k x 0 11", "set k -1 0 11", "set k 4294967296 0 11", "set k 0 x 11", &format!("set {long} 0 0 11")]
    {
        let answers = told(format!("{line}\r\nflush_all 0\r\nversion\r\n"));
        assert_eq!(answers, ["CLIENT_ERROR bad command line format", "Version"], "{line:.50}");
    }
    let mut server = server();
    let text = [&b"set k 0 0 1048576\r\n"[..], &[b'x'; 1 << 20], b"\r\nversion\r\n"].concat();
    let mut seen = Vec::new();
    for piece in text.chunks(10_000) {
        server.handle_input(Buffer::copy_from_slice(piece)).unwrap();
        seen.extend(core::iter::from_fn(|| server.poll_request()));
    }
    let [Request::Refused { refusal: Refusal::TooLarge, noreply: false, stale: Some(key) }, Request::Version] =
        &seen[..]
    else {
        panic!("{seen:?}")
    };
    assert_eq!(*key, b"k"[..], "what it should have replaced goes");
    assert_eq!(told("add k 0 0 1048576 noreply\r\n"), ["silence"]);
}

#[test]
fn a_value_without_end_is_a_bad_data_chunk() {
    assert_eq!(told("set k 0 0 3\r\nabcdef\r\n"), ["CLIENT_ERROR bad data chunk", "ERROR"]);
    assert_eq!(told("set k 0 0 1 noreply\r\nab\r\nget k\r\n"), ["silence", "ERROR", "get 1"]);
    assert_eq!(told("set k 0 0 1\r\na\rxversion\r\n"), ["CLIENT_ERROR bad data chunk", "Version"]);
}

#[test]
fn the_end_of_a_value_is_looked_at_when_it_comes_later_too() {
    let endpoint = Endpoint::new(Limits::DEFAULT);
    let mut server = endpoint.accept();
    for (text, answer) in [("ab", Some(Refusal::BadDataChunk)), ("\r\n", None)] {
        for piece in ["set k 0 0 1\r\n", "a", text] {
            assert!(server.poll_request().is_none());
            server.handle_input(Buffer::from(piece)).unwrap();
        }
        match (server.poll_request(), answer) {
            (Some(Request::Refused { refusal, .. }), Some(expected)) => assert_eq!(refusal, expected),
            (Some(Request::Store(..)), None) => {}
            (other, _) => panic!("{other:?}"),
        }
    }
    assert_eq!((endpoint.counters().bad_chunks, endpoint.counters().errors), (1, 1));
}

#[test]
fn keys_of_a_long_line_come_in_parts() {
    let keys: Vec<String> = (0..20_000).map(|number| format!("key{number}")).collect();
    let text = format!("gets {}\r\nversion\r\n", keys.join(" "));
    for size in [usize::MAX, 16_384, 1000, 7] {
        let mut server = server();
        let (mut seen, mut parts, mut ends) = (Vec::new(), 0, 0);
        for piece in text.as_bytes().chunks(size.min(text.len())) {
            server.handle_input(Buffer::copy_from_slice(piece)).unwrap();
            while let Some(request) = server.poll_request() {
                let Request::Retrieve { command, keys, is_last } = request else { continue };
                assert!(command.with_cas);
                seen.extend(keys.iter().map(|key| String::from_utf8(key.to_vec()).unwrap()));
                (parts, ends) = (parts + 1, ends + usize::from(is_last));
            }
        }
        assert!(seen == keys && parts > 10 && ends == 1 && !server.is_in_request(), "in pieces of {size}");
    }
}

#[test]
fn a_line_without_end_ends_the_connection() {
    for text in ["x".repeat(9000), format!("get {}", "k".repeat(9000)), format!("get a {}", "k".repeat(20_000))] {
        let mut server = server();
        server.handle_input(Buffer::copy_from_slice(text.as_bytes())).unwrap();
        let last = core::iter::from_fn(|| server.poll_request()).last();
        assert!(matches!(last, Some(Request::Refused { refusal: Refusal::LineTooLong, .. })), "{last:?}");
        assert!(server.is_over() && !server.wants_input());
    }
}

#[test]
fn a_value_is_a_part_of_what_was_received() {
    let mut server = server();
    let received = Buffer::from("set k 0 0 5\r\nhello\r\n");
    server.handle_input(received.clone()).unwrap();
    let Some(Request::Store(command, value)) = server.poll_request() else { panic!("a value") };
    assert_eq!(value.as_slice().unwrap().as_ptr(), received[13..].as_ptr());
    assert_eq!(command.key.as_ptr(), received[4..].as_ptr());
}

#[test]
fn a_key_without_others_is_known_as_such() {
    for (line, only) in
        [("get a\r\n", Some("a")), ("gat 1 b\r\n", Some("b")), ("get a b\r\n", None), ("gat 1\r\n", None)]
    {
        let mut server = server();
        server.handle_input(Buffer::from(line)).unwrap();
        let Some(Request::Retrieve { keys, .. }) = server.poll_request() else { panic!("{line}") };
        assert_eq!(keys.only(), only.map(str::as_bytes), "{line}");
    }
}

#[test]
fn answers_are_written_as_the_protocol_says() {
    let mut output = Output::new(&Endpoint::new(Limits::DEFAULT));
    output.put_item(b"k", 7, None, 2);
    output.put(b"hi\r\n");
    output.put_item(b"k", u32::MAX, Some(u64::MAX), 0);
    output.put(b"\r\n");
    for reply in [
        Reply::Stored,
        Reply::NotStored,
        Reply::Exists,
        Reply::NotFound,
        Reply::Deleted,
        Reply::Touched,
        Reply::Number(0),
        Reply::Ok,
        Reply::End,
        Reply::Version(Buffer::from("1")),
        Reply::Error,
        Reply::ClientError(Buffer::from("c")),
        Reply::ServerError(Buffer::from("s")),
    ] {
        output.put_reply(&reply);
    }
    output.put_figure(b"pid", b"1");
    output.put_refusal(Refusal::TooLarge);
    assert_eq!(
        String::from_utf8(sent(&mut output)).unwrap(),
        "VALUE k 7 2\r\nhi\r\nVALUE k 4294967295 0 18446744073709551615\r\n\r\nSTORED\r\nNOT_STORED\r\nEXISTS\r\n\
         NOT_FOUND\r\nDELETED\r\nTOUCHED\r\n0\r\nOK\r\nEND\r\nVERSION 1\r\nERROR\r\nCLIENT_ERROR c\r\nSERVER_ERROR s\r\n\
         STAT pid 1\r\nSERVER_ERROR object too large for cache\r\n"
    );
}

//! What the fuzz targets check, on the inputs that are worth keeping and on random ones made of likely pieces.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;

use crate::client::naive_uri;
#[cfg(feature = "compression")]
use crate::compress::naive_accept;
#[cfg(feature = "files")]
use crate::files::{naive_conditional, naive_path, naive_range};

/// Runs a check on all that is in the corpus of its target.
///
/// # Panics
/// If an input fails, or the corpus is hardly there.
pub(crate) fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the corpus is in the tree") {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let checked = std::panic::catch_unwind(|| check(&bytes));
        assert!(checked.is_ok(), "{} fails", path.display());
        count += 1;
    }
    assert!(count >= 20, "the corpus has only {count} inputs");
}

#[test]
fn the_corpus_of_uris_holds() {
    replay("uri", naive_uri::check);
}

#[cfg(feature = "compression")]
#[test]
fn the_corpus_of_codings_holds() {
    replay("accept", naive_accept::check);
}

#[cfg(feature = "files")]
#[test]
fn the_corpora_of_files_hold() {
    replay("conditional", naive_conditional::check);
    replay("path", naive_path::check);
    replay("range", naive_range::check);
}

#[cfg(feature = "files")]
/// Up to so many of the pieces, one behind the other.
fn text(pieces: &'static [&'static str], count: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(select(pieces), 0..count).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn property_uri_has_the_parts_that_a_plain_reading_finds(
        scheme in select(&["http://", "http://", "http://", "HTTPS://", "http:/"][..]),
        host in select(&["a", "B.c", "a-b.1c", "127.0.0.1", "127.1", "0", "1.", "[::1]", "[0:0::1]", "[", "", "é", "u@a"][..]),
        port in select(&["", ":", ":80", ":443", ":00080", ":+1", ":0", ":65536", ":1:2", "]"][..]),
        target in select(&["", "/", "/a%41", "?a", "#a", "//http://@:", "/ ", "é", "/?#/\r\n"][..]),
    ) {
        naive_uri::check(format!("{scheme}{host}{port}{target}").as_bytes());
    }
}

#[cfg(feature = "compression")]
proptest! {
    #[test]
    fn property_accept_takes_what_a_plain_reading_finds(
        elements in prop::collection::vec((
            select(&["gzip", "br", "zstd", "identity", "*", "x-gzip", "GZip", "deflate", ""][..]),
            select(&["", "", ";q=0", ";q=1", " ; Q=0.5", ";q=0.001", ";q=1.000", ";q=0.", ";q=2", ";q=", ";x", ";q=1;q=0"][..]),
            select(&[",", ", ", "\n", "\t"][..]),
        ), 0..6),
    ) {
        let text: String = elements.iter().flat_map(|&(name, weight, behind)| [name, weight, behind]).collect();
        naive_accept::check(text.as_bytes());
    }
}

#[cfg(feature = "files")]
proptest! {
    #[test]
    fn property_range_selects_what_a_plain_reading_finds(
        len_bytes in select(&[0, 1, 10, 100, u64::MAX][..]),
        specs in prop::collection::vec(select(&["0-5", "4-20", "10-12", "14-16", "30-", "-3", "-200", "99-99", "6-9", "40-45", "50-60", "43-52",
            "5-2", " 7-8\t", "", "-", "1-18446744073709551615", "99999999999999999999-"][..]), 0..8),
        unit in select(&["bytes=", "Bytes=", "BYTES=", "bytes"][..]),
    ) {
        naive_range::check(format!("{len_bytes}\n{unit}{}", specs.join(",")).as_bytes());
    }

    #[test]
    fn property_path_names_what_a_plain_reading_finds(
        text in text(&["/", "/", "a", ".", "..", "%2e", "%2F", "%00", "%", "%:1", "%4", "g", "%c3%a4", "%25", ".well-known", "+", "\\"], 9),
    ) {
        naive_path::check(text.as_bytes());
    }

    #[test]
    fn property_conditional_holds_where_a_plain_reading_does(
        fields in prop::collection::vec((
            select(&["If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"][..]),
            text(&["\"1-2-3-4\"", "W/", "\"a,b\"", ", ", ",", " ", "*", "\"", "x"], 5),
            select(&["", "Sun, 06 Nov 1994 08:49:36 GMT", "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:00 GMT",
                "Sun Nov  6 08:49:37 1994", "Thu, 01 Jan 1970 00:00:00 GMT"][..]),
            any::<bool>(),
        ), 0..4),
    ) {
        let line = |(name, list, date, is_date): &(&str, String, &str, bool)| {
            format!("{name}: {}\n", if *is_date { date } else { list.as_str() })
        };
        naive_conditional::check(fields.iter().map(line).collect::<String>().as_bytes());
    }
}

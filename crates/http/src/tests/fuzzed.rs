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

/// Up to so many of the pieces, one behind the other.
fn text(pieces: &'static [&'static str], count: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(select(pieces), 0..count).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn property_uri_has_the_parts_that_a_plain_reading_finds(
        text in text(&["http://", "HTTPS://", "a", "B.c", "1", "127.0.0.1", "0", ".", ":", ":80", ":+1", "443", "65536", "[::1]", "[", "]",
            "@", "/", "?", "#", "%41", " ", "é", "-", "x"], 7),
        is_uri in any::<bool>(),
    ) {
        let scheme = if is_uri { "http://" } else { "" };
        naive_uri::check(format!("{scheme}{text}").as_bytes());
    }
}

#[cfg(feature = "compression")]
proptest! {
    #[test]
    fn property_accept_takes_what_a_plain_reading_finds(
        text in text(&["gzip", "br", "zstd", "identity", "*", "x-gzip", "GZip", "deflate", ",", ", ", ";q=", "; Q=", "0", "1", "0.5", "0.001", ".",
            "00", "\n", ";", "=", "\t"], 14),
    ) {
        naive_accept::check(text.as_bytes());
    }
}

#[cfg(feature = "files")]
proptest! {
    #[test]
    fn property_range_selects_what_a_plain_reading_finds(
        len_bytes in select(&[0, 1, 10, 100, u64::MAX][..]),
        text in text(&["0-5", "4-20", "10-12", "30-", "-3", "-200", "99-99", "5-2", "6-9", "1", "-", "x", ",", ",", ",", ", ", " ",
            "18446744073709551615", "99999999999999999999"], 12),
        is_range in any::<bool>(),
    ) {
        let unit = if is_range { "bytes=" } else { "Bytes" };
        naive_range::check(format!("{len_bytes}\n{unit}{text}").as_bytes());
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

//! Commands for whoever looks after the original by hand. This store looks after itself, so most are refused, in words that the original
//! has for a server that was told so.

use super::line::refused;
use crate::number::natural;
use crate::reply::Refusal;
use crate::request::{ListForm, Request};

/// Classes have numbers up to this.
const CLASSES: u64 = 63;

/// The request, if it is one of these commands.
pub(super) fn parse(words: &[&[u8]], noreply: bool) -> Option<Request> {
    let silent = |refusal| Request::Refused { refusal, noreply, stale: None };
    Some(match words {
        [b"shutdown", ..] => refused(Refusal::NoShutdown),
        [b"watch", ..] => silent(Refusal::NoWatching),
        [b"slabs", b"reassign", _, _] => silent(Refusal::NoReassignment),
        [b"slabs", b"automove", _, ..] | [b"lru", b"tune" | b"mode" | b"temp_ttl", _, ..] => silent(Refusal::NoSetting),
        [b"lru_crawler", b"sleep" | b"tocrawl", _] => silent(Refusal::NoSetting),
        [b"lru_crawler", b"enable"] => silent(Refusal::CrawlerRuns),
        [b"lru_crawler", b"disable"] => silent(Refusal::CrawlerStays),
        [b"lru_crawler", b"crawl", classes] | [b"lru_crawler", b"crawl", classes, b"noreply"] => {
            match read_classes(classes) {
                // Those that were not asked for take no harm.
                Some(_) => Request::Crawl { noreply },
                None => silent(Refusal::BadClass),
            }
        }
        [b"lru_crawler", b"metadump", classes] => list(ListForm::Facts, classes),
        [b"lru_crawler", b"mgdump", classes] => list(ListForm::Requests, classes),
        _ => return None,
    })
}

fn list(form: ListForm, classes: &[u8]) -> Request {
    read_classes(classes).map_or_else(|| refused(Refusal::BadClass), |classes| Request::List { form, classes })
}

/// Which classes are meant: a bit for each.
fn read_classes(text: &[u8]) -> Option<u64> {
    if [&b"all"[..], b"hash"].contains(&text) {
        return Some(u64::MAX);
    }
    let class = |text| natural(text).filter(|class| (1..=CLASSES).contains(class));
    text.split(|byte| *byte == b',').try_fold(0, |classes, text| Some(classes | 1 << class(text)?))
}

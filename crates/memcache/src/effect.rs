//! What a request may do, and how long its answer may become, before either is known: for who may not answer at any length.

use crate::binary::{BinaryRequest, BinaryStatus, BinaryVerb, HEADER_BYTES};
use crate::meta::{MetaCommand, MetaVerb};
use crate::reply::Refusal;
use crate::request::{Request, words};

const LINE_END_BYTES: usize = 2;

/// The longest number, in digits.
const NUMBER_BYTES: usize = 20;

/// The extras of an answer of the binary protocol, or a number.
const PACKET_EXTRAS_BYTES: usize = 8;

impl Request {
    /// Whether it may change items, or who of the clients is told to renew one: what must not happen if nobody learns of it.
    pub fn changes_items(&self) -> bool {
        match self {
            Self::Store(..)
            | Self::Delete { .. }
            | Self::Count { .. }
            | Self::Touch { .. }
            | Self::FlushAll { .. }
            | Self::CacheMemlimit { .. } => true,
            Self::Retrieve { command, .. } => command.exptime.is_some(),
            // Even one that only asks for an item may be told to renew it, as nobody else is then.
            Self::Meta(command, ..) => command.verb != MetaVerb::Debug,
            Self::Refused { stale, .. } | Self::Binary(BinaryRequest::Refused { stale, .. }) => stale.is_some(),
            Self::Binary(BinaryRequest::Item(command, ..)) => !matches!(command.verb, BinaryVerb::Get { .. }),
            Self::Binary(BinaryRequest::Flush { .. }) => true,
            Self::Version
            | Self::Verbosity { .. }
            | Self::Stats(_)
            | Self::List { .. }
            // What is dead is no item.
            | Self::Crawl { .. }
            | Self::MetaNoop
            | Self::Quit => false,
            Self::Binary(
                BinaryRequest::Noop(_)
                | BinaryRequest::Version(_)
                | BinaryRequest::Stats(..)
                | BinaryRequest::Quit { .. },
            ) => false,
        }
    }

    /// Whether all that is stored may be looked at for it, or all of some size, however short it and its answer are.
    pub fn looks_at_everything(&self) -> bool {
        match self {
            Self::List { .. } | Self::Crawl { .. } => true,
            Self::Stats(parameters) | Self::Binary(BinaryRequest::Stats(_, parameters)) => {
                matches!(words(parameters).next(), Some(b"sizes" | b"cachedump"))
            }
            _ => false,
        }
    }

    /// How long its answer may be at most, in bytes; `None` if it has items, figures or a version, which may be as long as they like.
    pub fn longest_answer_bytes(&self) -> Option<usize> {
        let line = |refusal: Refusal| refusal.line().len() + LINE_END_BYTES;
        Some(match self {
            Self::Store(command, _) if command.noreply => 0,
            Self::Delete { noreply: true, .. }
            | Self::Count { noreply: true, .. }
            | Self::Touch { noreply: true, .. }
            | Self::FlushAll { noreply: true, .. }
            | Self::Verbosity { noreply: true }
            | Self::Crawl { noreply: true }
            | Self::CacheMemlimit { noreply: true, .. }
            | Self::Refused { noreply: true, .. }
            | Self::Quit => 0,
            Self::Store(..) => line(Refusal::NoMemory).max(line(Refusal::TooLarge)),
            Self::Delete { .. } | Self::Touch { .. } => "NOT_FOUND".len() + LINE_END_BYTES,
            Self::Count { .. } => line(Refusal::NotANumber).max(line(Refusal::NoMemory)),
            Self::Crawl { .. } => line(Refusal::CrawlerBusy),
            Self::FlushAll { .. } | Self::Verbosity { .. } | Self::CacheMemlimit { .. } | Self::MetaNoop => {
                "OK".len() + LINE_END_BYTES
            }
            Self::Refused { refusal, .. } => line(*refusal),
            Self::Meta(command, key, _) => return longest_meta(command, key),
            Self::Binary(request) => return longest_packet(request),
            Self::Retrieve { .. } | Self::Version | Self::Stats(_) | Self::List { .. } => return None,
        })
    }
}

fn longest_meta(command: &MetaCommand, key: &[u8]) -> Option<usize> {
    let line = |refusal: Refusal| refusal.line().len() + LINE_END_BYTES;
    let told: usize = command.order.iter().map(|flag| told_bytes(*flag, command, key)).sum();
    let answer = "HD".len() + told + LINE_END_BYTES;
    Some(match command.verb {
        MetaVerb::Debug => return None,
        MetaVerb::Get if command.wants_value => return None,
        // Who is told to renew an item is not told that somebody else was.
        MetaVerb::Get => answer + " Z X".len(),
        MetaVerb::Delete => answer,
        MetaVerb::Store(_) => answer.max(line(Refusal::NoMemory)).max(line(Refusal::TooLarge)),
        MetaVerb::Count(_) => {
            // How long it is, and the number itself.
            let value_bytes = if command.wants_value { " 20".len() + NUMBER_BYTES + LINE_END_BYTES } else { 0 };
            (answer + value_bytes).max(line(Refusal::NotANumber)).max(line(Refusal::NoMemory))
        }
    })
}

/// What a flag may add to an answer, with its name.
fn told_bytes(flag: u8, command: &MetaCommand, key: &[u8]) -> usize {
    let told = match flag {
        b'T' | b'N' | b'R' => return 0,
        // In base64, and what says that it is so.
        b'k' => key.len().div_ceil(3) * 4 + " b".len(),
        b'O' => command.opaque.len(),
        b'h' => 1,
        _ => NUMBER_BYTES,
    };
    2 + told
}

fn longest_packet(request: &BinaryRequest) -> Option<usize> {
    let status = |status: BinaryStatus| HEADER_BYTES + status.text().len();
    Some(match request {
        BinaryRequest::Item(command, ..) => match command.verb {
            BinaryVerb::Get { .. } | BinaryVerb::GetAndTouch { .. } => return None,
            _ => status(BinaryStatus::NotANumber).max(HEADER_BYTES + PACKET_EXTRAS_BYTES),
        },
        BinaryRequest::Quit { is_quiet: true, .. } | BinaryRequest::Flush { is_quiet: true, .. } => 0,
        BinaryRequest::Flush { .. } | BinaryRequest::Noop(_) | BinaryRequest::Quit { .. } => HEADER_BYTES,
        BinaryRequest::Refused { status: refused, .. } => status(*refused),
        BinaryRequest::Version(_) | BinaryRequest::Stats(..) => return None,
    })
}

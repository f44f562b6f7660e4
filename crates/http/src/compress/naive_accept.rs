//! What a client takes beside a plain way to read it: the check behind the fuzz target and the property.

use std::cell::OnceCell;

use sunstar_http1::{Endpoint, Event, Request};
use sunstar_packet::Buffer;

use super::accept::{Accepted, Coding};

/// Reads each line as an `Accept-Encoding` field, and compares what the request takes with what is right.
pub(crate) fn check(bytes: &[u8]) {
    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').take(20).collect();
    let Some(request) = request(&lines) else { return };
    let accepted = Accepted::of(request.headers());
    let said = read(&lines);
    let context = || format!("{}: {accepted:?}", bytes.escape_ascii());
    for coding in Coding::ALL {
        assert_eq!(accepted.takes(coding), weight(&said, coding.name()) > 0, "{}", context());
    }
    assert_eq!(accepted.takes_identity(), weight(&said, "identity") > 0, "{}", context());
    let liked: Vec<&str> = accepted.by_preference().map(Coding::name).collect();
    assert_eq!(accepted.best().map(Coding::name), liked.first().copied(), "{}", context());
    assert_eq!(liked, by_preference(&said), "{}", context());
}

/// A request with these values, if they are values.
fn request(values: &[&[u8]]) -> Option<Request> {
    thread_local! {
        // Made once: the frames of an endpoint are a large piece of memory.
        static ENDPOINT: OnceCell<Endpoint> = const { OnceCell::new() };
    }
    let mut connection = ENDPOINT.with(|endpoint| endpoint.get_or_init(Endpoint::default).accept());
    let lines = values.iter().flat_map(|value| [b"Accept-Encoding: ", *value, b"\r\n"]);
    let lines: Vec<u8> = lines.flatten().copied().collect();
    let bytes = [b"GET / HTTP/1.1\r\nHost: a\r\n", &lines[..], b"\r\n"].concat();
    connection.handle_input(Buffer::from(bytes)).ok()?;
    match connection.poll_event() {
        Some(Event::Request(request)) => Some(request),
        _ => None,
    }
}

/// Names and weights in thousandths, in the order in which they are said.
fn read(lines: &[&[u8]]) -> Vec<(String, u32)> {
    let text = lines.iter().map(|line| String::from_utf8_lossy(line)).collect::<Vec<_>>().join(",");
    text.split(',').filter_map(element).collect()
}

fn element(text: &str) -> Option<(String, u32)> {
    let trimmed = |text: &str| text.trim_matches(|letter: char| letter.is_ascii_whitespace()).to_ascii_lowercase();
    let (name, weight) = match text.split_once(';') {
        None => (trimmed(text), 1000),
        Some((name, parameter)) => (trimmed(name), quality(trimmed(parameter).strip_prefix("q=")?)?),
    };
    let name = if name == "x-gzip" { "gzip".to_owned() } else { name };
    (!name.is_empty()).then_some((name, weight))
}

/// RFC 9110 §12.4.2.
fn quality(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_fraction = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths = format!("{fraction:0<3}");
    match whole {
        "0" if is_fraction => thousandths.parse().ok(),
        "1" if is_fraction && thousandths == "000" => Some(1000),
        _ => None,
    }
}

/// What the first word about a coding says, or that about all others, or what goes without saying.
fn weight(said: &[(String, u32)], name: &str) -> u32 {
    let about = |name: &str| said.iter().find(|(other, _)| other == name).map(|&(_, weight)| weight);
    match (about(name), about("*")) {
        (Some(weight), _) => weight,
        (None, Some(weight)) if name != "identity" || weight == 0 => weight,
        // Content as it is comes behind whatever is named.
        _ => u32::from(name == "identity"),
    }
}

fn by_preference(said: &[(String, u32)]) -> Vec<&'static str> {
    let identity = weight(said, "identity");
    let mut rest: Vec<_> = ["zstd", "br", "gzip"].map(|name| (name, weight(said, name))).to_vec();
    rest.retain(|&(_, weight)| weight > 0 && weight >= identity);
    let mut liked = Vec::new();
    while let Some(most) = rest.iter().map(|&(_, weight)| weight).max() {
        liked.extend(rest.extract_if(.., |(_, weight)| *weight == most).map(|(name, _)| name));
    }
    liked
}

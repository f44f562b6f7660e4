//! Conditions beside a plain way to evaluate them: the check behind the fuzz target and the property.

use std::cell::OnceCell;
use std::time::{Duration, UNIX_EPOCH};

use sunstar_http1::{Date, Endpoint, Event, Headers, Request};
use sunstar_packet::Buffer;
use sunstar_storage::{Identity, Kind, Metadata};

use super::conditional::{Validators, Verdict};

/// What the file is called by.
const TAG: &[u8] = b"\"1-2-3-4\"";

const NOW: u64 = 784_111_800;

/// Sun, 06 Nov 1994 08:49:37 GMT.
const BEFORE: u64 = 784_111_777;

/// Reads the bytes as fields of a request, and compares what they mean for a file with what is right.
pub(crate) fn check(bytes: &[u8]) {
    let Some(request) = request(bytes) else { return };
    let headers = request.headers();
    for (modified, is_weak) in [(BEFORE, false), (BEFORE, true), (NOW, false)] {
        let file = validators(modified);
        let file = if is_weak { file.weak() } else { file };
        assert_eq!(file.etag().as_bytes().strip_prefix(b"W/").unwrap_or(TAG), TAG);
        assert_eq!(file.last_modified(), Date::from_unix_seconds(modified));
        let context = || format!("weak: {is_weak}, {headers:?}");
        assert_eq!(file.evaluate(headers), verdict(headers, modified, is_weak), "{}", context());
        assert_eq!(file.may_send_part(headers), part(headers, modified, is_weak), "{}", context());
    }
}

fn validators(modified: u64) -> Validators {
    let identity = Identity { device: 1, inode: 2, changed: Duration::from_nanos(4) };
    let metadata = Metadata { kind: Kind::Regular, len_bytes: 3, modified: Duration::from_secs(modified), identity };
    Validators::new(&metadata, Duration::from_secs(NOW))
}

/// A request with these lines of fields, if they are fields.
fn request(lines: &[u8]) -> Option<Request> {
    thread_local! {
        // Made once: the frames of an endpoint are a large piece of memory.
        static ENDPOINT: OnceCell<Endpoint> = const { OnceCell::new() };
    }
    let lines = lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let lines: Vec<u8> = lines.flat_map(|line| [line, b"\r\n"]).flatten().copied().collect();
    let mut connection = ENDPOINT.with(|endpoint| endpoint.get_or_init(Endpoint::default).accept());
    let bytes = [b"GET / HTTP/1.1\r\nHost: a\r\n", &lines[..], b"\r\n"].concat();
    connection.handle_input(Buffer::from(bytes)).ok()?;
    match connection.poll_event() {
        Some(Event::Request(request)) => Some(request),
        _ => None,
    }
}

/// RFC 9110 §13.2.2, step by step.
fn verdict(headers: &Headers, modified: u64, is_weak: bool) -> Verdict {
    let has = |name| headers.get(name).is_some();
    let step_1 = has("if-match").then(|| names_it(headers, "if-match", |tag_is_weak| !tag_is_weak && !is_weak));
    let step_2 = date(headers, "if-unmodified-since").map(|since| since >= modified);
    if step_1.or(step_2) == Some(false) {
        return Verdict::Failed;
    }
    let step_3 = has("if-none-match").then(|| !names_it(headers, "if-none-match", |_| true));
    let step_4 = date(headers, "if-modified-since").map(|since| since < modified);
    if step_3.or(step_4) == Some(false) { Verdict::NotModified } else { Verdict::Go }
}

/// RFC 9110 §13.1.5.
fn part(headers: &Headers, modified: u64, is_weak: bool) -> bool {
    match headers.get("if-range") {
        None => true,
        Some([b'"', ..]) => headers.get("if-range") == Some(TAG) && !is_weak,
        Some([b'W', b'/', ..]) => false,
        Some(_) => date(headers, "if-range") == Some(modified) && modified != NOW,
    }
}

/// Whether a list names the file by a tag that will do, which is asked whether it is weak, or by a star.
fn names_it(headers: &Headers, name: &str, will_do: impl Fn(bool) -> bool) -> bool {
    headers.get_all(name).any(|value| value.trim_ascii() == b"*" || tags(value).into_iter().any(&will_do))
}

/// Whether each tag of a list that is the file's is weak.
///
/// Every second piece between quotes is a tag, as long as there is nothing else between tags than what separates them.
fn tags(value: &[u8]) -> Vec<bool> {
    let pieces: Vec<&[u8]> = value.split(|&byte| byte == b'"').collect();
    let mut found = Vec::new();
    // The last piece has no quote behind it.
    for pair in pieces[..pieces.len() - 1].chunks_exact(2) {
        let between = pair[0].strip_suffix(b"W/").unwrap_or(pair[0]);
        if !between.iter().all(|byte| b" \t,".contains(byte)) {
            break;
        }
        if [b"\"", pair[1], b"\""].concat() == TAG {
            found.push(between.len() < pair[0].len());
        }
    }
    found
}

fn date(headers: &Headers, name: &str) -> Option<u64> {
    let values: Vec<&[u8]> = headers.get_all(name).collect();
    let [value] = values.as_slice() else { return None };
    let date = httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()?;
    Some(date.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

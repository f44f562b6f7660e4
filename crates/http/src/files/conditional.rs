//! Requests that depend on what the client has already (RFC 9110 §13).

use std::fmt::Write;
use std::format;
use std::string::String;
use std::time::{Duration, UNIX_EPOCH};

use sunstar_http1::{Date, Headers};
use sunstar_storage::Metadata;

/// The clock of a file system may stand still for so long: a file that was changed twice meanwhile looks as if it was changed once.
const CLOCK_STEP: Duration = Duration::from_millis(50);

/// What tells the states of a representation apart.
pub(super) struct Validators {
    /// Opaque, in its quotes (RFC 9110 §8.8.3).
    tag: String,
    /// Whether its bytes may be others under the same tag.
    is_weak: bool,
    /// Seconds since 1970. Not later than now.
    modified: u64,
    now: u64,
}

/// What the preconditions say (RFC 9110 §13.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Answer as if there were none.
    Go,
    /// The client has it: 304.
    NotModified,
    /// 412.
    Failed,
}

impl Validators {
    /// Those of a file. `now` is the time since 1970.
    pub(super) fn new(metadata: &Metadata, now: Duration) -> Self {
        let identity = &metadata.identity;
        let (changed, len_bytes) = (identity.changed.as_nanos(), metadata.len_bytes);
        let mut tag = String::with_capacity(64);
        write!(tag, "\"{:x}-{:x}-{len_bytes:x}-{changed:x}", identity.device, identity.inode)
            .expect("a String takes everything");
        let may_change_unseen = now < identity.changed.saturating_add(CLOCK_STEP);
        if may_change_unseen {
            // Nobody who has this state is told later that it still is the same.
            write!(tag, "-{:x}", now.as_nanos()).expect("a String takes everything");
        }
        tag.push('"');
        let now = now.as_secs();
        Self { tag, is_weak: may_change_unseen, modified: metadata.modified.as_secs().min(now), now }
    }

    /// Those of what is made of the file on the way, which may come out differently another time.
    pub(super) fn weak(self) -> Self {
        Self { is_weak: true, ..self }
    }

    /// The value of `ETag`.
    pub(super) fn etag(&self) -> String {
        if self.is_weak { format!("W/{}", self.tag) } else { self.tag.clone() }
    }

    /// The value of `Last-Modified`.
    pub(super) fn last_modified(&self) -> Date {
        Date::from_unix_seconds(self.modified)
    }

    /// What the preconditions of a GET or HEAD say, `If-Range` aside.
    pub(super) fn evaluate(&self, headers: &Headers) -> Verdict {
        if headers.get("if-match").is_some() {
            if !self.is_listed(headers, "if-match", true) {
                return Verdict::Failed;
            }
        } else if date(headers, "if-unmodified-since").is_some_and(|since| self.modified > since) {
            return Verdict::Failed;
        }
        if headers.get("if-none-match").is_some() {
            if self.is_listed(headers, "if-none-match", false) {
                return Verdict::NotModified;
            }
            if planted::is("date_beside_tag")
                && date(headers, "if-modified-since").is_some_and(|since| self.modified <= since)
            {
                return Verdict::NotModified;
            }
        } else if date(headers, "if-modified-since").is_some_and(|since| self.modified <= since) {
            return Verdict::NotModified;
        }
        Verdict::Go
    }

    /// Whether a part is of use to the client (`If-Range`, RFC 9110 §13.1.5): what it has must be of the very same bytes.
    pub(super) fn may_send_part(&self, headers: &Headers) -> bool {
        let Some(value) = headers.get("if-range") else { return true };
        if value.starts_with(b"\"") || value.starts_with(b"W/") {
            let value = if planted::is("weak_part") { value.strip_prefix(b"W/").unwrap_or(value) } else { value };
            return !self.is_weak && value == self.tag.as_bytes();
        }
        // A date is strong if the file could not have changed again in the same second (§8.8.2.2).
        date(headers, "if-range") == Some(self.modified) && self.modified < self.now
    }

    /// Whether the tag is one of those in the fields of that name, which may also say `*`.
    fn is_listed(&self, headers: &Headers, name: &str, is_strong: bool) -> bool {
        headers.get_all(name).any(|value| {
            value.trim_ascii() == b"*"
                || tags(value)
                    .any(|(is_weak, tag)| tag == self.tag.as_bytes() && !(is_strong && (is_weak || self.is_weak)))
        })
    }
}

/// The entity tags of a list, with their quotes, and whether each is weak. What is malformed ends the list. Tags may have commas.
fn tags(mut list: &[u8]) -> impl Iterator<Item = (bool, &[u8])> {
    std::iter::from_fn(move || {
        while let [b' ' | b'\t' | b',', rest @ ..] = list {
            list = rest;
        }
        let rest = list.strip_prefix(b"W/");
        let tag = rest.unwrap_or(list);
        let end = tag.strip_prefix(b"\"")?.iter().position(|&byte| byte == b'"')? + 2;
        let end = if planted::is("tag_ends_at_comma") {
            tag.iter().position(|&byte| byte == b',').unwrap_or(end).clamp(2, end)
        } else {
            end
        };
        list = &tag[end..];
        Some((rest.is_some(), &tag[..end]))
    })
}

/// The date in a field, as seconds since 1970. What is none is ignored, as is a list of several.
fn date(headers: &Headers, name: &str) -> Option<u64> {
    let mut values = headers.get_all(name);
    let value = std::str::from_utf8(values.next()?).ok().filter(|_| values.next().is_none())?;
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

#[cfg(test)]
mod tests {
    use sunstar_storage::{Identity, Kind};

    use super::*;
    use crate::compress::tests::request;

    const NOW: u64 = 784_111_800;
    /// Before, at, and after the file's time.
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn validators(modified: u64) -> Validators {
        let identity = Identity { device: 1, inode: 2, changed: Duration::from_nanos(4) };
        let metadata =
            Metadata { kind: Kind::Regular, len_bytes: 3, modified: Duration::from_secs(modified), identity };
        Validators::new(&metadata, Duration::from_secs(NOW))
    }

    fn ours() -> Validators {
        validators(784_111_777)
    }

    const TAG: &str = "\"1-2-3-4\"";

    #[test]
    fn preconditions_are_evaluated_in_their_order() {
        use Verdict::{Failed, Go, NotModified};
        let (weak, other) = (format!("W/{TAG}"), "\"other\"".to_owned());
        let both = format!("\"a,b\" , {weak},");
        let cases: &[(&[(&str, &str)], Verdict)] = &[
            (&[], Go),
            (&[("If-Match", TAG)], Go),
            (&[("If-Match", "*")], Go),
            (&[("If-Match", &other)], Failed),
            (&[("If-Match", &weak)], Failed),
            (&[("If-Match", &both)], Failed),
            (&[("If-Match", &other), ("If-Match", TAG)], Go),
            (&[("If-Match", "nonsense")], Failed),
            // The date does not count beside the tag.
            (&[("If-Match", TAG), ("If-Unmodified-Since", EARLIER)], Go),
            (&[("If-Unmodified-Since", EARLIER)], Failed),
            (&[("If-Unmodified-Since", SAME)], Go),
            (&[("If-Unmodified-Since", LATER)], Go),
            (&[("If-Unmodified-Since", "yesterday")], Go),
            (&[("If-None-Match", TAG)], NotModified),
            (&[("If-None-Match", &weak)], NotModified),
            (&[("If-None-Match", &both)], NotModified),
            (&[("If-None-Match", "*")], NotModified),
            (&[("If-None-Match", &other)], Go),
            (&[("If-None-Match", "1-2-3-4")], Go),
            (&[("If-None-Match", &other), ("If-Modified-Since", LATER)], Go),
            (&[("If-None-Match", TAG), ("If-Modified-Since", EARLIER)], NotModified),
            (&[("If-Modified-Since", EARLIER)], Go),
            (&[("If-Modified-Since", SAME)], NotModified),
            (&[("If-Modified-Since", LATER)], NotModified),
            (&[("If-Modified-Since", "Sunday, 06-Nov-94 08:49:37 GMT")], NotModified),
            (&[("If-Modified-Since", "Sun Nov  6 08:49:37 1994")], NotModified),
            (&[("If-Modified-Since", "0")], Go),
            (&[("If-Modified-Since", LATER), ("If-Modified-Since", LATER)], Go),
            (&[("If-Match", TAG), ("If-None-Match", TAG)], NotModified),
            (&[("If-Match", &other), ("If-None-Match", TAG)], Failed),
            (&[("If-Unmodified-Since", SAME), ("If-None-Match", TAG)], NotModified),
        ];
        for (fields, verdict) in cases {
            assert_eq!(ours().evaluate(request(fields).headers()), *verdict, "{fields:?}");
        }
        let made = ours().weak();
        assert_eq!(made.etag(), weak);
        assert_eq!(made.evaluate(request(&[("If-Match", TAG)]).headers()), Failed);
        assert_eq!(made.evaluate(request(&[("If-None-Match", TAG)]).headers()), NotModified);
    }

    #[test]
    fn parts_go_to_whom_has_the_same_bytes() {
        let weak = format!("W/{TAG}");
        let may = |validators: Validators, value| validators.may_send_part(request(&[("If-Range", value)]).headers());
        assert!(ours().may_send_part(request(&[]).headers()));
        assert!(may(ours(), TAG) && may(ours(), SAME));
        for value in [&weak, "\"other\"", EARLIER, LATER, "nonsense", ""] {
            assert!(!may(ours(), value), "{value}");
        }
        assert!(!may(ours().weak(), TAG) && !may(ours().weak(), &weak));
        // It was changed in this second, and may be once more.
        assert!(!may(validators(NOW), "Sun, 06 Nov 1994 08:50:00 GMT"));
    }

    #[test]
    fn a_state_that_may_change_unseen_has_a_tag_that_does_not_last() {
        let changed = Duration::from_secs(NOW);
        let metadata = Metadata {
            kind: Kind::Regular,
            len_bytes: 3,
            modified: changed,
            identity: Identity { device: 1, inode: 2, changed },
        };
        let after = |millis| Validators::new(&metadata, changed + Duration::from_millis(millis));
        let (early, late) = (after(0), after(50));
        assert!(early.etag().starts_with("W/\"1-2-3-") && late.etag().starts_with("\"1-2-3-"));
        assert_eq!(late.evaluate(request(&[("If-None-Match", &early.etag())]).headers()), Verdict::Go);
        assert!(!early.may_send_part(request(&[("If-Range", &early.etag())]).headers()));
        assert_eq!(late.etag(), after(1000).etag());
    }

    #[test]
    fn no_file_is_from_the_future() {
        assert_eq!(validators(u64::MAX / 2).last_modified(), Date::from_unix_seconds(NOW));
    }
}

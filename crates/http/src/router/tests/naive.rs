//! A router beside one that tries every pattern: the check behind the fuzz target and the property.

use sunstar_http::{Error, Exchange, MAX_PARAMETERS, MAX_SEGMENTS, Request, Router};

async fn nothing(_: Request, _: &mut Exchange<'_>) -> Result<(), Error> {
    Ok(())
}

/// A segment of a pattern; the earlier ones win.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Part {
    Exact(Vec<u8>),
    Parameter,
    Remainder,
}

struct Naive<'a> {
    text: &'a str,
    parts: Vec<Part>,
    names: Vec<&'a str>,
}

/// Reads lines as patterns and the last one as a path, and compares what a router finds with what is right.
///
/// It must not matter in which order the patterns are added.
pub(super) fn check(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let (patterns, path) = text.rsplit_once('\n').unwrap_or(("", text));
    let mut router = Router::new();
    let mut all = Vec::<Naive<'_>>::new();
    for line in patterns.split('\n').take(20) {
        let parsed = parse(line);
        let is_new = |parsed: &Naive<'_>| all.iter().all(|other| other.parts != parsed.parts);
        let right = parsed.as_ref().is_some_and(is_new);
        let added = router.get(line, nothing).map(|_| ());
        assert_eq!(added.is_ok(), right, "{line:?}: {added:?}");
        if right {
            all.extend(parsed);
        }
    }
    let expected = find(&all, path.as_bytes());
    assert_eq!(found(&router, path), expected, "{path:?} in {router:?}");
    let mut reversed = Router::new();
    for pattern in all.iter().rev() {
        reversed.get(pattern.text, nothing).expect("it was added before");
    }
    assert_eq!(found(&reversed, path), expected, "{path:?} in {router:?}, added backwards");
}

/// The pattern that fits, and the values of its parameters as they came.
type Found = (String, Vec<(String, Vec<u8>)>);

fn found(router: &Router, path: &str) -> Option<Found> {
    let params = router.find(path.as_bytes().to_vec())?;
    for (name, raw) in params.iter() {
        assert_eq!(params.bytes(name).expect("it has this name"), decode(raw), "{name}");
    }
    let values = params.iter().map(|(name, value)| (name.to_owned(), value.to_vec()));
    Some((params.pattern().to_owned(), values.collect()))
}

fn parse(text: &str) -> Option<Naive<'_>> {
    let mut pattern = Naive { text, parts: Vec::new(), names: Vec::new() };
    for segment in text.strip_prefix('/')?.split('/') {
        let inner = segment.strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
        let part = match inner {
            Some(inner) => {
                let name = inner.strip_suffix("...");
                pattern.names.push(name.unwrap_or(inner));
                if name.is_some() { Part::Remainder } else { Part::Parameter }
            }
            None => Part::Exact(decode(segment.as_bytes())),
        };
        let in_path = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&byte);
        if matches!(part, Part::Exact(_)) && !(segment.bytes().all(in_path) && is_encoded_well(segment.as_bytes())) {
            return None;
        }
        pattern.parts.push(part);
    }
    let is_last = |at: usize| at + 1 == pattern.parts.len();
    let remainders_last = (0..pattern.parts.len()).all(|at| pattern.parts[at] != Part::Remainder || is_last(at));
    let is_name = |name: &&str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
            && !name.as_bytes()[0].is_ascii_digit()
    };
    let mut names = pattern.names.clone();
    names.sort_unstable();
    names.dedup();
    let named_well = names.len() == pattern.names.len() && names.iter().all(is_name);
    let is_small = pattern.parts.len() <= MAX_SEGMENTS && names.len() <= MAX_PARAMETERS;
    (remainders_last && named_well && is_small).then_some(pattern)
}

/// The most exact of the patterns that fit.
fn find(patterns: &[Naive<'_>], path: &[u8]) -> Option<Found> {
    let fitting = patterns.iter().filter_map(|pattern| Some((pattern, fit(&pattern.parts, path)?)));
    let (best, values) = fitting.min_by(|(one, _), (other, _)| one.parts.cmp(&other.parts))?;
    let names = best.names.iter().map(|name| (*name).to_owned());
    Some((best.text.to_owned(), names.zip(values).collect()))
}

/// The values of the parameters, if the path fits.
fn fit(parts: &[Part], path: &[u8]) -> Option<Vec<Vec<u8>>> {
    let Some((part, parts)) = parts.split_first() else { return path.is_empty().then(Vec::new) };
    let path = path.strip_prefix(b"/")?;
    let (segment, rest) = path.split_at(path.iter().position(|&byte| byte == b'/').unwrap_or(path.len()));
    match part {
        Part::Exact(text) => {
            let fits = is_encoded_well(segment) && decode(segment) == *text;
            if fits { fit(parts, rest) } else { None }
        }
        Part::Parameter if segment.is_empty() => None,
        Part::Parameter => {
            let mut values = fit(parts, rest)?;
            values.insert(0, segment.to_vec());
            Some(values)
        }
        Part::Remainder => Some(vec![path.to_vec()]),
    }
}

fn is_encoded_well(bytes: &[u8]) -> bool {
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    (0..bytes.len()).all(|at| bytes[at] != b'%' || hex(at + 1) && hex(at + 2))
}

fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        match digits.and_then(|digits| core::str::from_utf8(digits).ok()) {
            Some(digits) if bytes[at] == b'%' => {
                decoded.push(u8::from_str_radix(digits, 16).expect("they are digits"));
                at += 3;
            }
            _ => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    decoded
}

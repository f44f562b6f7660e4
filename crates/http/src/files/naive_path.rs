//! Paths of files beside a plain way to decode them: the check behind the fuzz target and the property.

use super::path::{PathError, Target, decode};

/// Reads any bytes as a path, and compares what it names with what is right.
pub(crate) fn check(bytes: &[u8]) {
    for dot_files in [false, true] {
        let found = decode(bytes, dot_files);
        assert_eq!(found, expected(bytes, dot_files), "{}", bytes.escape_ascii());
        if let Ok(target) = found {
            stays_inside(&target.path);
            // The same name in another spelling.
            let spelt: String = target.path.iter().map(|&byte| spell(byte)).collect();
            assert_eq!(decode(spelt.as_bytes(), dot_files).map(|target| target.path), Ok(target.path), "{spelt}");
        }
    }
}

fn stays_inside(path: &[u8]) {
    let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
    assert!(path.is_empty() || path.split(|&byte| byte == b'/').all(is_name), "{}", path.escape_ascii());
}

fn spell(byte: u8) -> String {
    if byte == b'/' { "/".to_owned() } else { format!("%{byte:02x}") }
}

fn expected(path: &[u8], dot_files: bool) -> Result<Target, PathError> {
    let mut segments: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    // The slash in front counts no more than the one at the end.
    if segments.len() > 1 && segments[0].is_empty() {
        segments.remove(0);
    }
    let is_directory = segments.last() == Some(&&b""[..]);
    if is_directory {
        segments.pop();
    }
    let names: Vec<Vec<u8>> = segments.into_iter().map(|segment| name(segment, dot_files)).collect::<Result<_, _>>()?;
    Ok(Target { path: names.join(&b'/'), is_directory })
}

fn name(segment: &[u8], dot_files: bool) -> Result<Vec<u8>, PathError> {
    let mut pieces = segment.split(|&byte| byte == b'%');
    let mut name = pieces.next().unwrap_or_default().to_vec();
    for piece in pieces {
        let digits = piece.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok()).ok_or(PathError::Malformed)?;
        name.push(u8::from_str_radix(digits, 16).expect("they are digits"));
        name.extend_from_slice(&piece[2..]);
    }
    let is_hidden = name.starts_with(b".") && name != b".well-known" && !dot_files;
    let is_bad = name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0);
    if is_hidden || is_bad { Err(PathError::Refused) } else { Ok(name) }
}

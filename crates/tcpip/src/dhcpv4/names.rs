//! Names of domains as they stand in options.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// RFC 1035 §2.3.4: bytes of a label and of a name, without the last dot.
const MAX_LABEL_BYTES: usize = 63;
const MAX_NAME_BYTES: usize = 253;

/// Labels of one name, jumps included; so reading ends whatever the bytes say.
const MAX_STEPS: usize = 128;

/// The names in a list as RFC 1035 §4.1.4 writes them, compressed within the list (RFC 3397). They end where they can't be read.
pub(crate) fn domain_names(list: &[u8], limit: usize) -> Vec<Box<str>> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < list.len() && names.len() < limit {
        let Some((name, next)) = domain_name(list, at) else { break };
        names.extend(Some(name).filter(|name| !name.is_empty()));
        at = next;
    }
    names
}

/// The name at a place, and where the next one begins.
fn domain_name(list: &[u8], mut at: usize) -> Option<(Box<str>, usize)> {
    let mut name = String::new();
    let mut next = None;
    for _ in 0..MAX_STEPS {
        let len = usize::from(*list.get(at)?);
        match len {
            0 => return Some((name.into(), next.unwrap_or(at + 1))),
            1..=MAX_LABEL_BYTES => {
                push_label(&mut name, list.get(at + 1..at + 1 + len)?)?;
                at += 1 + len;
            }
            0xc0.. => {
                let target = (len & 0x3f) << 8 | usize::from(*list.get(at + 1)?);
                next = next.or(Some(at + 2));
                // Pointers lead back.
                at = Some(target).filter(|target| *target < at)?;
            }
            _ => return None,
        }
    }
    None
}

/// A name with dots.
pub(super) fn plain_name(bytes: &[u8]) -> Option<Box<str>> {
    let end = bytes.iter().rposition(|byte| !matches!(byte, 0 | b'.')).map_or(0, |last| last + 1);
    let mut name = String::new();
    for label in bytes.get(..end)?.split(|byte| *byte == b'.') {
        push_label(&mut name, label)?;
    }
    Some(name.into())
}

/// Only what names of hosts are made of (RFC 1123 §2.1), and underscores: it comes from strangers and may be shown.
fn push_label(name: &mut String, label: &[u8]) -> Option<()> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if label.is_empty() || label.len() > MAX_LABEL_BYTES || !label.iter().all(is_plain) {
        return None;
    }
    if !name.is_empty() {
        name.push('.');
    }
    name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
    (name.len() <= MAX_NAME_BYTES).then_some(())
}

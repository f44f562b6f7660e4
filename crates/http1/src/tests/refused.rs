//! The corpus of requests that are refused. Tests of servers include this file too.

/// A request that can be read in two ways.
#[derive(Debug)]
pub(super) struct Refused {
    /// The section of RFC 9112 that it is about.
    pub(super) section: &'static str,
    /// The status that it is answered with.
    pub(super) status: &'static str,
    /// What is wrong, as [`crate::Error`] calls it.
    pub(super) error: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// All of them.
pub(super) fn refused() -> Vec<Refused> {
    let lines = include_str!("refused.txt").lines().filter(|line| !line.starts_with('#'));
    let corpus: Vec<_> = lines.map(|line| parse(line).unwrap_or_else(|| panic!("malformed: {line}"))).collect();
    assert!(corpus.len() > 100, "only {} are left", corpus.len());
    corpus
}

fn parse(line: &'static str) -> Option<Refused> {
    let mut columns = line.splitn(4, ' ');
    let mut column = || columns.next();
    Some(Refused { section: column()?, status: column()?, error: column()?, bytes: unescape(column()?)? })
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next()? {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'0' => 0,
                b'\\' => b'\\',
                b'x' => {
                    let digits = [bytes.next()?, bytes.next()?];
                    u8::from_str_radix(core::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                _ => return None,
            },
            byte => byte,
        });
    }
    Some(plain)
}

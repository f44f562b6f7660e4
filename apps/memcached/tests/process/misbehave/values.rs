//! Chance, values that say themselves whether they are right, and answers as they are read.

use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpStream;

/// splitmix64.
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("it is below a usize")
    }

    /// The length of a value: most are short, few are long.
    pub(super) fn len(&mut self) -> usize {
        let limit = [200, 200, 200, 5_000, 5_000, 100_000][self.below(6)];
        self.below(limit)
    }
}

/// Bytes that follow from a number.
pub(super) fn filler(number: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(number);
    let words = (0..len.div_ceil(8)).flat_map(|_| rng.next().to_le_bytes());
    words.take(len).collect()
}

/// Keys that anybody may write to.
const SHARED_KEYS: usize = 300;

pub(super) fn shared_key(rng: &mut Rng) -> String {
    format!("shared:{}", rng.below(SHARED_KEYS))
}

/// A value for a key: which one it is and how long, and then what follows from that.
pub(super) fn shared_value(key: &str, version: u64, len: usize) -> Vec<u8> {
    let mut value = format!("{key} {version} {len} ").into_bytes();
    value.extend(filler(version, len));
    value
}

/// Whether it is a value that somebody may have stored for this key.
pub(super) fn is_shared_value(key: &str, value: &[u8]) -> bool {
    let mut words = value.splitn(4, |byte| *byte == b' ').map(str::from_utf8);
    let (Some(Ok(_)), Some(Ok(version)), Some(Ok(len))) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let (Ok(version), Ok(len)) = (version.parse(), len.parse::<usize>()) else { return false };
    len <= value.len() && value == shared_value(key, version, len)
}

/// An item that was answered.
pub(super) struct Answered {
    pub(super) key: String,
    pub(super) flags: u32,
    pub(super) unique: Option<u64>,
    pub(super) value: Vec<u8>,
}

/// What of an answer comes next.
pub(super) enum Part {
    Item(Answered),
    /// Any other line.
    Line(String),
}

/// Reads a part of an answer.
///
/// # Errors
/// If the connection fails or ends, or what comes is no answer.
pub(super) fn read_part(from: &mut BufReader<TcpStream>) -> io::Result<Part> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = String::from_utf8(line).map_err(io::Error::other)?;
    // A connection that the server gives up may end anywhere.
    let line = line.strip_suffix("\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let Some(rest) = line.strip_prefix("VALUE ") else { return Ok(Part::Line(line.to_owned())) };
    let words: Vec<&str> = rest.split(' ').collect();
    let [key, flags, len, unique @ ..] = &words[..] else { panic!("no item: {line}") };
    let mut value = vec![0; len.parse::<usize>().expect("a length") + 2];
    from.read_exact(&mut value)?;
    assert!(value.ends_with(b"\r\n"), "a value of {key} ends otherwise");
    value.truncate(value.len() - 2);
    let unique = unique.first().map(|unique| unique.parse().expect("a number"));
    Ok(Part::Item(Answered { key: (*key).to_owned(), flags: flags.parse().expect("flags"), unique, value }))
}

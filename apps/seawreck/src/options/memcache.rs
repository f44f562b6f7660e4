//! What is asked of a server that speaks the memcache protocol.

use sunstar::prelude::clap;

use super::quantity::{count, fraction, sizes, whole};
use crate::protocol::memcache::{Keys, Mix};

/// The longest key (protocol.txt of memcached), and the longest value that is taken.
const MAX_KEY: usize = 250;
const MAX_VALUE: usize = 128 << 20;
/// The most keys of one request.
const MAX_KEYS: usize = 1000;
/// The most keys: they are told apart by numbers that floating point has exactly.
const MAX_KEY_SPACE: u64 = 1 << 48;

/// What else is in a request: its header over UDP, its words and numbers, its ends of lines.
const REQUEST_BYTES: usize = 64;

#[derive(clap::Args, Debug)]
pub(crate) struct Memcached {
    /// memcached: the part of the requests that are get, from 0 to 1; the others are set
    #[arg(long, value_name = "PART", default_value = "0.9", value_parser = fraction)]
    gets: f64,
    /// memcached: how many different keys there are, as in 1000, 50k, 2m
    #[arg(long, value_name = "N", default_value = "10k", value_parser = count)]
    keys: u64,
    /// memcached: bytes of a key
    #[arg(long, value_name = "BYTES", default_value_t = 32, value_parser = whole::<1, MAX_KEY>)]
    key_bytes: usize,
    /// memcached: bytes of a value, as in 100, or of the shortest and the longest, as in 10:16k
    #[arg(long, value_name = "BYTES", default_value = "100", value_parser = sizes)]
    value_bytes: (usize, usize),
    /// memcached: keys of a get
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<1, MAX_KEYS>)]
    multiget: usize,
    /// memcached: ask for some keys more often than for others, by Zipf's law with this exponent, as in 0.99 [default: for all alike]
    #[arg(long, value_name = "EXPONENT", value_parser = exponent)]
    zipf: Option<f64>,
    /// memcached: store all keys before
    #[arg(long)]
    pub(super) fill: bool,
    /// memcached over UDP: hold a connection to the same port over TCP meanwhile; without one a server may answer with fewer bytes than it
    /// was sent only
    #[arg(long)]
    pub(super) hold_connection: bool,
    /// memcached: don't look at the values
    #[arg(long)]
    no_verify: bool,
}

impl Memcached {
    /// What is asked for.
    ///
    /// # Errors
    /// Says what does not fit.
    pub(super) fn mix(&self) -> Result<Mix, String> {
        if self.keys > MAX_KEY_SPACE {
            return Err(format!("--keys is {MAX_KEY_SPACE} at most"));
        }
        let digits = (self.keys - 1).to_string().len();
        if digits > self.key_bytes {
            return Err(format!("{} keys have up to {digits} digits, more than --key-bytes", self.keys));
        }
        if self.value_bytes.1 > MAX_VALUE {
            return Err(format!("--value-bytes is {MAX_VALUE} at most"));
        }
        let keys = Keys { count: self.keys, len_bytes: self.key_bytes, value_bytes: self.value_bytes };
        Ok(Mix { keys, gets: self.gets, keys_per_get: self.multiget, zipf: self.zipf, verifies: !self.no_verify })
    }

    /// The same where each request has to fit into so many bytes.
    ///
    /// # Errors
    /// Says what does not fit.
    pub(super) fn mix_of_datagrams(&self, most_bytes: usize) -> Result<Mix, String> {
        let mix = self.mix()?;
        let longest = self.value_bytes.1.max((self.key_bytes + 1) * self.multiget) + self.key_bytes + REQUEST_BYTES;
        if longest > most_bytes {
            return Err(format!("over UDP a request has {most_bytes} bytes at most, and some would have {longest}"));
        }
        Ok(mix)
    }
}

fn exponent(text: &str) -> Result<f64, String> {
    let exponent = text.parse().ok().filter(|exponent| *exponent > 0.0 && *exponent <= 10.0);
    exponent.ok_or_else(|| "it must be a number above 0, and 10 at most".to_owned())
}

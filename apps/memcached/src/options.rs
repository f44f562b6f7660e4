//! How much memory there is, and what clients may ask for.

use sunstar::Error;
use sunstar::prelude::clap;
use sunstar_memcache::MIN_MEMORY_BYTES;

const MIB: usize = 1 << 20;

/// Of all shards together, if nothing is said and it is enough.
const DEFAULT_MEMORY_BYTES: usize = 64 * MIB;

/// Items may be this large at most.
const MAX_ITEM_BYTES: usize = 1 << 30;

/// The bounds that the command line has.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Limits {
    /// Memory for items, all shards together: MiB, or with a suffix K, M or G [default: 64M, or two items of the largest size for
    /// each shard if that is more]
    #[arg(long, value_name = "SIZE", value_parser = mebibytes)]
    cache_memory: Option<usize>,
    /// The largest item, key and value: bytes, or with a suffix K, M or G
    #[arg(short = 'I', long, value_name = "SIZE", default_value = "1M", value_parser = bytes)]
    max_item_size: usize,
    /// Connections that are served at the same time, all shards together and each its part, which is one at least; others wait
    #[arg(long, value_name = "COUNT", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
}

/// The bounds in the units that are used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) memory_bytes: usize,
    pub(crate) item_bytes: usize,
    pub(crate) connections: usize,
}

impl Bounds {
    /// How many connections this shard of so many serves at the same time: all shards together as many as is said.
    pub(crate) fn connections_of(self, shard: usize, shards: usize) -> usize {
        self.connections / shards + usize::from(shard < self.connections % shards)
    }
}

impl Limits {
    /// Whether they fit each other and the number of shards.
    ///
    /// # Errors
    /// If an item of the largest size may be more than half of a shard's part of the memory, or that part is less than
    /// [`MIN_MEMORY_BYTES`], or there are fewer connections than shards.
    pub(crate) fn checked(self, shards: usize) -> Result<Bounds, Error> {
        let Self { cache_memory, max_item_size, max_connections } = self;
        if !(1024..=MAX_ITEM_BYTES).contains(&max_item_size) {
            return Err(Error::usage("--max-item-size must be from 1K to 1G"));
        }
        let least = (2 * max_item_size).max(MIN_MEMORY_BYTES) * shards;
        let memory_bytes = cache_memory.unwrap_or(least.max(DEFAULT_MEMORY_BYTES));
        if memory_bytes < least {
            let (least, item) = (least.div_ceil(MIB), max_item_size.div_ceil(1 << 10));
            return Err(Error::usage(format_args!(
                "--cache-memory must be at least {least}M: each of {shards} shards keeps a part of it, which must be 1M and twice \
                 --max-item-size ({item}K)"
            )));
        }
        let connections = max_connections as usize;
        if connections < shards {
            return Err(Error::usage(format_args!(
                "--max-connections must be at least {shards}: each of {shards} shards serves a part of them"
            )));
        }
        Ok(Bounds { memory_bytes, item_bytes: max_item_size, connections })
    }
}

pub(crate) fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("it must be a whole number from 0 to {}", u16::MAX))
}

fn mebibytes(text: &str) -> Result<usize, String> {
    size(text, MIB)
}

pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    size(text, 1)
}

/// Reads a size whose unit is this one unless it has a suffix.
fn size(text: &str, unit: usize) -> Result<usize, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], MIB),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, unit),
    };
    let number: Option<usize> = digits.parse().ok();
    number.and_then(|number| number.checked_mul(unit)).ok_or_else(|| "it must be a number, as 64M or 1G".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(cache_memory: Option<usize>, max_item_size: usize, shards: usize) -> Result<usize, String> {
        let limits = Limits { cache_memory, max_item_size, max_connections: 1024 };
        limits.checked(shards).map(|bounds| bounds.memory_bytes).map_err(|error| error.to_string())
    }

    #[test]
    fn the_default_grows_with_the_shards_and_what_is_too_little_is_told() {
        for (shards, bytes) in [(1, 64 * MIB), (32, 64 * MIB), (33, 66 * MIB), (256, 512 * MIB)] {
            assert_eq!(checked(None, MIB, shards), Ok(bytes), "{shards}");
        }
        assert_eq!(checked(None, 100 * MIB, 2), Ok(400 * MIB));
        assert_eq!(checked(Some(66 * MIB), MIB, 33), Ok(66 * MIB));
        let error = checked(Some(64 * MIB), MIB, 33).expect_err("it is too little");
        assert!(error.contains("at least 66M") && error.contains("33 shards"), "{error}");
        let error = checked(Some(MIB), 1024, 2).expect_err("it is too little");
        assert!(error.contains("at least 2M"), "{error}");
    }

    #[test]
    fn shards_serve_as_many_connections_together_as_is_said() {
        for (connections, shards, parts) in
            [(1, 1, &[1][..]), (2, 2, &[1, 1]), (3, 2, &[2, 1]), (10, 4, &[3, 3, 2, 2]), (11, 3, &[4, 4, 3])]
        {
            let limits = Limits { cache_memory: None, max_item_size: MIB, max_connections: connections };
            let bounds = limits.checked(shards).unwrap_or_else(|error| panic!("{error}"));
            let of: Vec<usize> = (0..shards).map(|shard| bounds.connections_of(shard, shards)).collect();
            assert_eq!(of, parts, "{connections} on {shards} shards");
        }
        let limits = Limits { cache_memory: None, max_item_size: MIB, max_connections: 7 };
        let error = limits.checked(8).expect_err("one shard would serve nobody").to_string();
        assert!(error.contains("--max-connections must be at least 8"), "{error}");
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(mebibytes("64"), Ok(64 << 20));
        assert_eq!(mebibytes("2g"), Ok(2 << 30));
        assert_eq!(bytes("1000"), Ok(1000));
        assert_eq!(bytes("512K"), Ok(512 << 10));
        for text in ["", "M", "1T", "-1", "1.5M", "99999999999999999999"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}

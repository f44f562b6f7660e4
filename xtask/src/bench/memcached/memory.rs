//! What an item takes of memory, everything included.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};

use super::load;
use super::server::{Server, Setup, Who};
use super::{KEY_BYTES, VALUE_BYTES};

/// Room for each item, so that none has to go.
const BYTES_OF_EACH: u64 = 512;

/// Stores so many items in each server, and answers the table.
///
/// # Errors
/// If a server or the load fails, or items are missing.
pub(super) fn contest(items: u64) -> Result<String> {
    let mut text = format!(
        "\n## memory ({items} items: keys of {KEY_BYTES} bytes, values of {VALUE_BYTES})\n\n\
         | server | MiB before | MiB after | bytes more for each item |\n|---|---|---|---|\n"
    );
    let mut bytes = Vec::new();
    for who in [Who::IoUring, Who::Original] {
        let (before, after) = measure(who, items).with_context(|| format!("{} with many items", who.name()))?;
        let each = (after - before) / items as f64;
        println!("memory {:<28} {each:.1} bytes for each item", who.name());
        let mebibyte = f64::from(1 << 20);
        writeln!(text, "| {} | {:.1} | {:.1} | {each:.1} |", who.name(), before / mebibyte, after / mebibyte)?;
        bytes.push(each);
    }
    let ratio = bytes[0] / bytes[1];
    let met = if ratio <= 1.0 { "yes" } else { "**no**" };
    writeln!(text, "\n| bar | demanded | measured | met |\n|---|---|---|---|")?;
    writeln!(text, "| memory for each item, sunstar to memcached | ≤ 1 | {ratio:.3} | {met} |")?;
    Ok(text)
}

/// What the process occupies without and with the items.
fn measure(who: Who, items: u64) -> Result<(f64, f64)> {
    let setup = Setup { memory_mib: (items * BYTES_OF_EACH) >> 20, polls: false, multiget: 1, shards: 1 };
    let server = Server::start(who, setup)?;
    let before = server.resident_bytes()?;
    load::fill(who, &server, items)?;
    let stored = server.figure("curr_items")?;
    ensure!(stored == items, "{stored} of {items} items are there");
    Ok((before, server.resident_bytes()?))
}

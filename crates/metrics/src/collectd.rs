//! The binary network protocol of collectd: packets of samples, and a task that sends them.
//!
//! A sample becomes a value list of collectd's like this:
//!
//! | part | what |
//! |---|---|
//! | host | as given |
//! | plugin | `sunstar` |
//! | plugin instance | the number of the shard, or `all` for sums over the shards |
//! | type | `derive` for counters that are whole numbers, else `gauge` |
//! | type instance | the name without `sunstar_`, and the values of the labels: `http_requests_total-main-200` |
//!
//! Of a histogram the number of values (`…_count`) and their sum (`…_sum`) are sent, since collectd has none. Counters in seconds
//! are gauges, since collectd's counters are whole numbers.

mod sender;

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::time::Duration;

use crate::family::Kind;
use crate::gather::{Gathered, Sample};
use crate::number::{Number, Value};

pub use sender::{Options, Sender, SenderError};

/// The port that collectd listens at.
pub const DEFAULT_PORT: u16 = 25826;

/// The longest packet that is made: it fits into an Ethernet frame, over IPv6 too.
pub const PACKET_BYTES: usize = 1452;

/// The longest name that collectd takes, without the zero at its end.
const NAME_BYTES: usize = 127;

const PLUGIN: &str = "sunstar";
/// What the type instance leaves out.
const PREFIX: &str = "sunstar_";

/// The types of parts.
mod part {
    pub(super) const HOST: u16 = 0x0000;
    pub(super) const PLUGIN: u16 = 0x0002;
    pub(super) const PLUGIN_INSTANCE: u16 = 0x0003;
    pub(super) const TYPE: u16 = 0x0004;
    pub(super) const TYPE_INSTANCE: u16 = 0x0005;
    pub(super) const VALUES: u16 = 0x0006;
    pub(super) const TIME: u16 = 0x0008;
    pub(super) const INTERVAL: u16 = 0x0009;
}

/// The types of values.
const GAUGE: u8 = 1;
const DERIVE: u8 = 2;

/// Packets for collectd.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Packets {
    /// Each is one datagram.
    pub packets: Vec<Vec<u8>>,
    /// Samples whose names are too long for collectd, or the same as that of another one there.
    pub left_out: u64,
}

/// Puts all that was gathered into packets of at most [`PACKET_BYTES`].
///
/// `host` is who tells, `time` since the Unix epoch when, `interval` how often. A host's name that is too long for collectd is cut.
pub fn encode(host: &str, time: Duration, interval: Duration, gathered: &Gathered) -> Packets {
    let mut encoder = Encoder { host, time, interval, ..Encoder::default() };
    for family in &gathered.families {
        let name = family.family.name();
        let name = name.strip_prefix(PREFIX).unwrap_or(name);
        let is_counter = family.family.kind() == Kind::Counter;
        for sample in &family.samples {
            match &sample.value {
                Value::Number(number) => encoder.add(sample, name, "", *number, is_counter),
                Value::Distribution(values) => {
                    encoder.add(sample, name, "_count", Number::Whole(values.count()), true);
                    encoder.add(sample, name, "_sum", Number::Real(values.sum()), false);
                }
            }
        }
    }
    encoder.end()
}

/// Fills packets. A part counts for all values behind it in its packet, so what is as before is not repeated.
#[derive(Default)]
struct Encoder<'a> {
    host: &'a str,
    time: Duration,
    interval: Duration,
    packet: Vec<u8>,
    /// What the last values in the packet were told under.
    instance: String,
    is_derive: Option<bool>,
    /// The names so far: labels are told apart by more than what is left of them there.
    seen: BTreeSet<(String, String)>,
    done: Packets,
}

impl Encoder<'_> {
    fn add(&mut self, sample: &Sample, name: &str, suffix: &str, number: Number, is_counter: bool) {
        let mut instance = String::new();
        match sample.shard {
            Some(shard) => write!(instance, "{shard}").expect("a string takes what is written to it"),
            None => instance.push_str("all"),
        }
        let mut type_instance = String::from(name);
        type_instance.push_str(suffix);
        for (_, value) in sample.labels.iter() {
            type_instance.push('-');
            // A slash would be another folder where collectd keeps files, a zero ends a name.
            type_instance.extend(value.chars().map(|c| if c == '/' || c.is_control() { '_' } else { c }));
        }
        // Of two values under one name collectd would make one that jumps.
        let is_taken = type_instance.len() <= NAME_BYTES && self.seen.insert((instance.clone(), type_instance.clone()));
        if !is_taken {
            self.done.left_out += 1;
            return;
        }
        let value = match number {
            Number::Whole(whole) if is_counter => (true, whole.to_be_bytes()),
            // Gauges are the one thing in the protocol that is little-endian.
            number => (false, number.as_f64().to_le_bytes()),
        };
        let before = self.packet.len();
        self.put(&instance, &type_instance, value);
        if self.packet.len() > PACKET_BYTES {
            self.packet.truncate(before);
            self.finish_packet();
            if planted::is("lost_at_packet_end") {
                return;
            }
            self.put(&instance, &type_instance, value);
        }
    }

    fn put(&mut self, instance: &str, type_instance: &str, (is_derive, value): (bool, [u8; 8])) {
        if self.packet.is_empty() {
            put_text(&mut self.packet, part::HOST, cut(self.host));
            put_number(&mut self.packet, part::TIME, high_resolution(self.time));
            put_number(&mut self.packet, part::INTERVAL, high_resolution(self.interval));
            put_text(&mut self.packet, part::PLUGIN, PLUGIN);
            self.instance.clear();
            self.is_derive = None;
        }
        if self.instance != instance {
            put_text(&mut self.packet, part::PLUGIN_INSTANCE, instance);
            self.instance = instance.into();
        }
        if self.is_derive.replace(is_derive) != Some(is_derive) {
            put_text(&mut self.packet, part::TYPE, if is_derive { "derive" } else { "gauge" });
        }
        put_text(&mut self.packet, part::TYPE_INSTANCE, type_instance);
        put_head(&mut self.packet, part::VALUES, 2 + 1 + value.len());
        self.packet.extend_from_slice(&1_u16.to_be_bytes());
        self.packet.push(if is_derive { DERIVE } else { GAUGE });
        self.packet.extend_from_slice(&value);
    }

    fn finish_packet(&mut self) {
        let packet = core::mem::take(&mut self.packet);
        if !packet.is_empty() {
            self.done.packets.push(packet);
        }
    }

    fn end(mut self) -> Packets {
        self.finish_packet();
        self.done
    }
}

fn put_head(packet: &mut Vec<u8>, kind: u16, content_bytes: usize) {
    let length = u16::try_from(4 + content_bytes).expect("parts are short");
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&length.to_be_bytes());
}

fn put_text(packet: &mut Vec<u8>, kind: u16, text: &str) {
    put_head(packet, kind, text.len() + 1);
    packet.extend_from_slice(text.as_bytes());
    packet.push(0);
}

fn put_number(packet: &mut Vec<u8>, kind: u16, number: u64) {
    put_head(packet, kind, size_of_val(&number));
    packet.extend_from_slice(&number.to_be_bytes());
}

/// As much of a name as collectd takes.
fn cut(name: &str) -> &str {
    let end = name.find('\0').unwrap_or(name.len());
    &name[..name.floor_char_boundary(end.min(NAME_BYTES))]
}

/// A time in units of 2^-30 seconds.
fn high_resolution(time: Duration) -> u64 {
    let units = (time.as_nanos() << 30) / 1_000_000_000;
    u64::try_from(units).unwrap_or(u64::MAX)
}

//! The text that Prometheus reads: its exposition format, version 0.0.4.
//!
//! ```text
//! # HELP sunstar_timers_armed Timers that are armed.
//! # TYPE sunstar_timers_armed gauge
//! sunstar_timers_armed{shard="0"} 3
//! ```

use alloc::string::String;
use core::fmt::Write;

use crate::distribution::DistributionValue;
use crate::family::Kind;
use crate::gather::{Gathered, Sample, Samples};
use crate::number::{Number, Value};

/// The type of the text, for the field `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All that was gathered, as text.
pub fn text(gathered: &Gathered) -> String {
    let mut text = String::new();
    gathered.families.iter().for_each(|family| write(&mut text, family));
    text
}

/// Adds a family to a text.
pub fn write(text: &mut String, samples: &Samples) {
    let (family, name) = (&samples.family, samples.family.name());
    let kind = match family.kind() {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    text.push_str("# HELP ");
    text.push_str(name);
    text.push(' ');
    escape(text, family.help(), false);
    for part in ["\n# TYPE ", name, " ", kind, "\n"] {
        text.push_str(part);
    }
    for sample in &samples.samples {
        match &sample.value {
            Value::Number(number) => line(text, name, "", sample, None, *number),
            Value::Distribution(distribution) => write_distribution(text, name, sample, distribution),
        }
    }
}

fn write_distribution(text: &mut String, name: &str, sample: &Sample, distribution: &DistributionValue) {
    for (bound, count) in distribution.cumulative() {
        let bound = Number::Real(bound.unwrap_or(f64::INFINITY));
        line(text, name, "_bucket", sample, Some(bound), Number::Whole(count));
    }
    line(text, name, "_sum", sample, None, Number::Real(distribution.sum()));
    line(text, name, "_count", sample, None, Number::Whole(distribution.count()));
}

fn line(text: &mut String, name: &str, suffix: &str, sample: &Sample, bound: Option<Number>, value: Number) {
    text.push_str(name);
    text.push_str(suffix);
    let mut separator = '{';
    for (label, value) in sample.labels.iter() {
        begin_label(text, &mut separator, label);
        escape(text, value, true);
        text.push('"');
    }
    if let Some(shard) = sample.shard {
        begin_label(text, &mut separator, "shard");
        put(text, shard);
        text.push('"');
    }
    if let Some(bound) = bound {
        begin_label(text, &mut separator, "le");
        put(text, bound);
        text.push('"');
    }
    text.push_str(if separator == '{' { " " } else { "} " });
    put(text, value);
    text.push('\n');
}

fn begin_label(text: &mut String, separator: &mut char, label: &str) {
    text.push(core::mem::replace(separator, ','));
    text.push_str(label);
    text.push_str("=\"");
}

fn put(text: &mut String, what: impl core::fmt::Display) {
    write!(text, "{what}").expect("a string takes what is written to it");
}

/// Puts a help text, or the value of a label, in which quotation marks are escaped too.
fn escape(text: &mut String, from: &str, quotes: bool) {
    for character in from.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if quotes => text.push_str("\\\""),
            _ => text.push(character),
        }
    }
}

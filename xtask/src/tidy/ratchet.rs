//! Length limits as a ratchet: what is longer is recorded with its length, and may only become shorter.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Finding;
use super::source::Source;
use super::tree::File;

/// Lines of a file.
pub(crate) const FILE_LINES: usize = 600;
/// Lines of a function.
pub(crate) const FUNCTION_LINES: usize = 60;

/// Where the recorded lengths are.
pub(crate) const PATH: &str = "xtask/ratchet.toml";

const HEADER: &str = "\
# What is longer than the limits, and how long it is. It may only become shorter: `cargo xtask tidy --bless` takes
# over what has, and never adds or raises an entry.

";

/// The lengths of what is over a limit. Functions are named `path::function`.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lengths {
    #[serde(default)]
    pub(crate) files: BTreeMap<String, usize>,
    #[serde(default)]
    pub(crate) functions: BTreeMap<String, usize>,
}

impl Lengths {
    /// Measures the Rust files.
    pub(crate) fn measure(files: &[File], sources: &[Source<'_>]) -> Self {
        let mut lengths = Self::default();
        for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
            let lines = file.text.lines().count();
            if lines > FILE_LINES {
                lengths.files.insert(file.path.clone(), lines);
            }
        }
        for source in sources {
            for function in source.functions().iter().filter(|function| function.lines > FUNCTION_LINES) {
                let entry = lengths.functions.entry(format!("{}::{}", source.path, function.name)).or_default();
                *entry = function.lines.max(*entry);
            }
        }
        lengths
    }

    /// Reads the text of ratchet.toml.
    ///
    /// # Errors
    /// If it is not what [`Lengths`] says.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context(PATH)
    }

    /// The text of ratchet.toml.
    ///
    /// # Errors
    /// None that can happen with these types.
    pub(crate) fn render(&self) -> Result<String> {
        Ok(format!("{HEADER}{}", toml::to_string(self)?))
    }

    /// What the measured lengths do to the recorded ones: too long, or shorter than recorded.
    pub(crate) fn compare(&self, measured: &Self, findings: &mut Vec<Finding>) {
        compare("file-length", FILE_LINES, &self.files, &measured.files, findings);
        compare("function-length", FUNCTION_LINES, &self.functions, &measured.functions, findings);
    }

    /// The recorded lengths, lowered to the measured ones where those are lower.
    pub(crate) fn lowered(&self, measured: &Self) -> Self {
        Self { files: lowered(&self.files, &measured.files), functions: lowered(&self.functions, &measured.functions) }
    }
}

type Map = BTreeMap<String, usize>;

fn compare(rule: &'static str, limit: usize, recorded: &Map, measured: &Map, findings: &mut Vec<Finding>) {
    let mut report = |name: &str, message| {
        let path = name.split_once("::").map_or(name, |(path, _)| path).to_owned();
        findings.push(Finding { rule, path, line: 1, message });
    };
    for (name, &lines) in measured {
        match recorded.get(name) {
            None => {
                report(name, format!("{name} has {lines} lines, the limit is {limit}: find the second concept in it"))
            }
            Some(&before) if lines > before => {
                report(
                    name,
                    format!("{name} grew from {before} to {lines} lines; what is over {limit} may only shrink"),
                );
            }
            Some(_) => {}
        }
    }
    for (name, &before) in recorded {
        let now = measured.get(name).copied();
        if now.is_none_or(|now| now < before) {
            let now = now.map_or_else(|| "is no longer over the limit".to_owned(), |now| format!("now has {now}"));
            report(name, format!("{name} is recorded with {before} lines and {now}: run `cargo xtask tidy --bless`"));
        }
    }
}

fn lowered(recorded: &Map, measured: &Map) -> Map {
    recorded.iter().filter_map(|(name, &before)| Some((name.clone(), before.min(*measured.get(name)?)))).collect()
}

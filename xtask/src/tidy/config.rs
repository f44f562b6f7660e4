//! `xtask/tidy.toml`: the rings and the exceptions, each with its reason.

use std::cell::Cell;

use anyhow::{Context, Result};
use serde::Deserialize;

/// What tidy.toml says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The crates of each ring by folder, from the inside out; within a ring, those listed first are deeper.
    #[serde(default)]
    pub(crate) rings: Vec<Vec<String>>,
    #[serde(default)]
    pub(crate) allow: Vec<Exception>,
}

/// A file, or a folder if the path ends in `/`, for which a rule does not hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exception {
    pub(crate) rule: String,
    pub(crate) path: String,
    pub(crate) reason: String,
    #[serde(skip)]
    pub(crate) used: Cell<bool>,
}

impl Config {
    /// Reads the text of tidy.toml.
    ///
    /// # Errors
    /// If it is not what [`Config`] says.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context("xtask/tidy.toml")
    }

    /// Whether an exception covers that rule in that file; the exception counts as used.
    pub(crate) fn allows(&self, rule: &str, path: &str) -> bool {
        let mut covered = false;
        for exception in self.allow.iter().filter(|exception| exception.rule == rule && exception.covers(path)) {
            exception.used.set(true);
            covered = true;
        }
        covered
    }
}

impl Exception {
    fn covers(&self, path: &str) -> bool {
        if self.path.ends_with('/') { path.starts_with(&self.path) } else { path == self.path }
    }
}

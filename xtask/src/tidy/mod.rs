//! Tidy: the house rules that neither compiler nor clippy check, as a command and as a test.
//!
//! A rule is a function from sources to findings in [`rules`]. Exceptions stand in `xtask/tidy.toml`, each with
//! its reason; one that is no longer needed is a finding itself. Lengths are a [`ratchet`].

mod config;
mod lexer;
mod ratchet;
mod rules;
mod source;
pub(crate) mod tree;

#[cfg(test)]
mod tests;

use std::fmt;

use anyhow::{Context, Result, ensure};

use crate::command::root;
use config::Config;
use ratchet::Lengths;
use source::sources;
use tree::File;

const CONFIG_PATH: &str = "xtask/tidy.toml";

/// A breach of a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) rule: &'static str,
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: [{}] {}", self.path, self.line, self.rule, self.message)
    }
}

/// Checks the tree, after lowering the recorded lengths if `bless`.
///
/// # Errors
/// If there are findings, or the tree or the settings can't be read.
pub(crate) fn command(bless: bool) -> Result<()> {
    let files = tree::read(root())?;
    let config = Config::parse(text_of(&files, CONFIG_PATH)?)?;
    let mut recorded = Lengths::parse(text_of(&files, ratchet::PATH)?)?;
    if bless {
        recorded = recorded.lowered(&Lengths::measure(&files, &sources(&files)));
        std::fs::write(root().join(ratchet::PATH), recorded.render()?).context(ratchet::PATH)?;
    }
    let findings = check(&files, &config, &recorded);
    for finding in &findings {
        println!("{finding}");
    }
    ensure!(findings.is_empty(), "{} findings of tidy; {CONFIG_PATH} lists what is excepted and why", findings.len());
    println!("{} files are tidy", files.len());
    Ok(())
}

fn text_of<'a>(files: &'a [File], path: &str) -> Result<&'a str> {
    files
        .iter()
        .find(|file| file.path == path)
        .map(|file| file.text.as_str())
        .with_context(|| format!("{path} is missing"))
}

/// All findings in a tree that no exception covers.
fn check(files: &[File], config: &Config, recorded: &Lengths) -> Vec<Finding> {
    let sources = sources(files);
    let mut findings = Vec::new();
    rules::run(files, &sources, config, &mut findings);
    findings.retain(|finding| !config.allows(finding.rule, &finding.path));
    recorded.compare(&Lengths::measure(files, &sources), &mut findings);
    for exception in &config.allow {
        let complaint = if exception.reason.trim().is_empty() {
            "has no reason"
        } else if !exception.used.get() {
            "is not needed: remove it"
        } else {
            continue;
        };
        let message = format!("the exception of {} from {} {complaint}", exception.path, exception.rule);
        findings.push(Finding { rule: "exceptions", path: CONFIG_PATH.to_owned(), line: 1, message });
    }
    findings
}

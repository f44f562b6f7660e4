//! The rules, by what they look at.

mod banned;
mod conformance;
mod hash_order;
mod manifests;
mod safety;
mod words;

use super::Finding;
use super::config::Config;
use super::source::Source;
use super::tree::File;

/// Runs every rule.
pub(super) fn run(files: &[File], sources: &[Source<'_>], config: &Config, findings: &mut Vec<Finding>) {
    for source in sources {
        banned::check(source, findings);
        hash_order::check(source, findings);
        safety::check(source, findings);
        words::check_code(source, findings);
    }
    for file in files {
        words::check_text(file, findings);
    }
    conformance::check(files, sources, findings);
    manifests::check(files, sources, config, findings);
}

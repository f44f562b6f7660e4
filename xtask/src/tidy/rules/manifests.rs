//! What each crate's manifest and root must say: the lint set, the direction of dependencies, the ban on unsafe.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::super::tree::File;
use super::{Config, Finding, Source};

/// The ring whose crates are pure.
const PURE_RING: usize = 1;

const PREFIX: &str = "sunstar-";

/// Reports crates that do without the lint set, depend outwards, or are pure and don't forbid unsafe code.
pub(super) fn check(files: &[File], sources: &[Source<'_>], config: &Config, findings: &mut Vec<Finding>) {
    let places = places(&config.rings);
    for file in files.iter().filter(|file| file.path.ends_with("Cargo.toml")) {
        let mut report =
            |rule, message: String| findings.push(Finding { rule, path: file.path.clone(), line: 1, message });
        let manifest: Table = match file.text.parse() {
            Ok(manifest) => manifest,
            Err(error) => {
                report("manifest", error.to_string());
                continue;
            }
        };
        // Other workspaces, and the root of this one, have lint sets of their own.
        if manifest.contains_key("workspace") {
            continue;
        }
        if manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(Value::as_bool) != Some(true) {
            report("lints", "the manifest needs `[lints] workspace = true`".to_owned());
        }
        let Some(folder) = crate_folder(&file.path) else { continue };
        let Some(&place) = places.get(folder) else {
            report("rings", format!("{folder} has no ring: give it one in xtask/tidy.toml"));
            continue;
        };
        for inner in dependencies(&manifest) {
            if places.get(inner.as_str()).is_none_or(|&other| other >= place) {
                report(
                    "rings",
                    format!("{folder} may not depend on {inner}, which is not further in (xtask/tidy.toml)"),
                );
            }
        }
        if place.0 == PURE_RING && !forbids_unsafe(sources, folder) {
            report("pure", format!("{folder} is pure: its lib.rs needs `#![forbid(unsafe_code)]`"));
        }
    }
}

/// Ring and place within it, by crate.
fn places(rings: &[Vec<String>]) -> BTreeMap<&str, (usize, usize)> {
    let places = |(ring, crates)| {
        let crates: &Vec<String> = crates;
        crates.iter().enumerate().map(move |(place, name)| (name.as_str(), (ring, place)))
    };
    rings.iter().enumerate().flat_map(places).collect()
}

fn crate_folder(path: &str) -> Option<&str> {
    let folder = path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml")?;
    (!folder.contains('/')).then_some(folder)
}

/// The crates of ours that this one is built with. Tests may use any.
fn dependencies(manifest: &Table) -> Vec<String> {
    let mut tables = vec![manifest];
    if let Some(targets) = manifest.get("target").and_then(Value::as_table) {
        tables.extend(targets.values().filter_map(Value::as_table));
    }
    tables
        .iter()
        .flat_map(|table| ["dependencies", "build-dependencies"].map(|key| table.get(key)))
        .filter_map(|dependencies| dependencies?.as_table())
        .flat_map(Table::keys)
        .filter_map(|name| name.strip_prefix(PREFIX).map(str::to_owned))
        .collect()
}

fn forbids_unsafe(sources: &[Source<'_>], folder: &str) -> bool {
    let path = format!("crates/{folder}/src/lib.rs");
    let pattern = ["#", "!", "[", "forbid", "(", "unsafe_code"];
    sources
        .iter()
        .find(|source| source.path == path)
        .is_some_and(|root| (0..root.tokens().len()).any(|index| root.matches(index, &pattern)))
}

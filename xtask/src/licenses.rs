//! Whether every dependency's licence is one that the project accepts.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::command::{cargo, read};

/// The licences accepted: permissive ones that Apache-2.0 may be combined with.
const ACCEPTED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
}

/// Checks every package of the lock file.
///
/// # Errors
/// Names each package whose licence is missing or not accepted.
pub(crate) fn check() -> Result<()> {
    let json = read(&mut cargo(&["metadata", "--locked", "--format-version", "1"]))?;
    let metadata: Metadata = serde_json::from_str(&json).context("reading cargo's metadata")?;
    let refused: Vec<String> = metadata.packages.iter().filter_map(refusal).collect();
    if !refused.is_empty() {
        bail!("licences that are not accepted:\n  {}", refused.join("\n  "));
    }
    println!("{} packages, every licence accepted", metadata.packages.len());
    Ok(())
}

fn refusal(package: &Package) -> Option<String> {
    let license = package.license.as_deref().unwrap_or("none stated");
    if accepts(license) { None } else { Some(format!("{} {}: {license}", package.name, package.version)) }
}

/// Whether an SPDX expression leaves us a choice that is accepted. The old `MIT/Apache-2.0` means `OR`.
fn accepts(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let verdict = any_of(&mut words);
    verdict == Some(true) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>) -> Option<bool> {
    let mut verdict = all_of(words)?;
    while words.next_if_eq(&"OR").is_some() {
        verdict |= all_of(words)?;
    }
    Some(verdict)
}

fn all_of(words: &mut Words<'_>) -> Option<bool> {
    let mut verdict = single(words)?;
    while words.next_if_eq(&"AND").is_some() {
        verdict &= single(words)?;
    }
    Some(verdict)
}

fn single(words: &mut Words<'_>) -> Option<bool> {
    if words.next_if_eq(&"(").is_some() {
        let verdict = any_of(words)?;
        return (words.next() == Some(")")).then_some(verdict);
    }
    let mut license = words.next()?.to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        license = format!("{license} WITH {}", words.next()?);
    }
    Some(ACCEPTED.contains(&license.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_accepted_choice_is_enough() {
        assert!(accepts("MIT OR GPL-3.0-only"));
        assert!(accepts("MIT/Apache-2.0"));
        assert!(accepts("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT"));
        assert!(accepts("(MIT OR Apache-2.0) AND Unicode-3.0"));
    }

    #[test]
    fn every_part_of_a_conjunction_counts() {
        assert!(!accepts("MIT AND GPL-3.0-only"));
        assert!(!accepts("(MIT OR Apache-2.0) AND MPL-2.0"));
    }

    #[test]
    fn what_is_unknown_or_malformed_is_refused() {
        for license in ["GPL-3.0-only", "none stated", "", "MIT OR", "(MIT", "MIT)"] {
            assert!(!accepts(license), "{license}");
        }
    }

    #[test]
    fn a_package_without_licence_is_named() {
        let package = Package { name: "anon".to_owned(), version: "1.0.0".to_owned(), license: None };
        assert_eq!(refusal(&package).as_deref(), Some("anon 1.0.0: none stated"));
    }
}

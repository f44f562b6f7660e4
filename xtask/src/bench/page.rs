//! A page of figures: on what they were measured, and by which command.

use std::fs;

use anyhow::{Context, Result};

use super::machine;
use crate::command::{root, target_dir};

/// The page for readers, on which each command has a section of its own.
const PAGE: &str = "docs/benchmarks.md";
const HEAD: &str = "# Benchmarks\n\nHow each is run is in [bench/README.md](../bench/README.md).\n\n";
/// What is said of the machine and of Sunstar itself; the versions of all peers follow.
const OWN_FACTS: usize = 4;

/// The title, the machine and the versions.
///
/// # Errors
/// If something about the machine can't be found.
pub(super) fn head(title: &str) -> Result<String> {
    Ok(format!("# {title}\n\n{}", facts(usize::MAX)?))
}

/// The same without the versions of peers that take no part.
///
/// # Errors
/// If something about the machine can't be found.
pub(super) fn brief_head(title: &str) -> Result<String> {
    Ok(format!("# {title}\n\n{}", facts(OWN_FACTS)?))
}

fn facts(most: usize) -> Result<String> {
    Ok(machine::describe()?.iter().take(most).map(|(name, value)| format!("- {name}: {value}\n")).collect())
}

/// Writes a page into the folder for them and shows it.
///
/// # Errors
/// If it can't be written.
pub(super) fn write(name: &str, text: &str) -> Result<()> {
    let path = write_quietly(name, text)?;
    println!("\n{text}\nwritten to {path}");
    Ok(())
}

/// Writes a file into the folder for pages and answers where it is.
///
/// # Errors
/// If it can't be written.
pub(super) fn write_quietly(name: &str, text: &str) -> Result<String> {
    let folder = target_dir("bench");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok(path.display().to_string())
}

/// Puts a section into the page for readers, in the place of what the command wrote there before.
///
/// # Errors
/// If it can't be written.
pub(super) fn publish(command: &str, section: &str) -> Result<()> {
    let path = root().join(PAGE);
    let page = fs::read_to_string(&path).unwrap_or_else(|_| HEAD.to_owned());
    fs::write(&path, with_section(&page, command, section)).with_context(|| format!("writing {PAGE}"))?;
    println!("written to {PAGE}");
    Ok(())
}

/// Makes a page a section with this title, of which what was the page's title is the command.
pub(super) fn as_section(title: &str, page: &str) -> String {
    let (command, rest) = page.trim_start_matches("# ").split_once('\n').unwrap_or((page, ""));
    let facts = rest.trim_start_matches('\n').replace("\n## ", "\n### ");
    format!("\n## {title}\n\n- command: `{command}`\n{facts}")
}

/// The page with this section. Between the marks it is the command's; the rest of it is people's.
fn with_section(page: &str, command: &str, section: &str) -> String {
    let [begin, end] =
        ["begin", "end"].map(|word| format!("<!-- written by cargo xtask bench {command}: {word} -->\n"));
    let ours = format!("{begin}{section}{end}");
    match (page.split_once(&*begin), page.split_once(&*end)) {
        (Some((before, _)), Some((_, after))) => format!("{before}{ours}{after}"),
        _ => format!("{page}{ours}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{as_section, with_section};

    #[test]
    fn a_section_takes_the_place_of_the_one_before_and_of_nothing_else() {
        let mark = |command: &str, word: &str| format!("<!-- written by cargo xtask bench {command}: {word} -->\n");
        let first = with_section("# Title\n", "a", "one\n");
        assert_eq!(first, format!("# Title\n{}one\n{}", mark("a", "begin"), mark("a", "end")));
        let second = with_section(&format!("{first}more\n"), "a", "two\n");
        assert_eq!(second, format!("# Title\n{}two\n{}more\n", mark("a", "begin"), mark("a", "end")));
        let other = with_section(&second, "b", "three\n");
        assert_eq!(other, format!("{second}{}three\n{}", mark("b", "begin"), mark("b", "end")));
    }

    #[test]
    fn a_page_becomes_a_section() {
        let section = as_section("Title", "# cargo xtask bench a\n\n- kernel: 6\n\n## one\n\n| x |\n");
        assert_eq!(section, "\n## Title\n\n- command: `cargo xtask bench a`\n- kernel: 6\n\n### one\n\n| x |\n");
    }
}

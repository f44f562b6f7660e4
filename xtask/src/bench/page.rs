//! A page of figures: on what they were measured, and by which command.

use std::fs;

use anyhow::{Context, Result};

use super::machine;
use crate::command::target_dir;

/// The title, the machine and the versions.
///
/// # Errors
/// If something about the machine can't be found.
pub(super) fn head(title: &str) -> Result<String> {
    let facts = machine::describe()?;
    let facts: String = facts.iter().map(|(name, value)| format!("- {name}: {value}\n")).collect();
    Ok(format!("# {title}\n\n{facts}"))
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

//! What scripts start on their way: `ip`, of which the plug-in has to hear when it flushes what is remembered of other hosts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// Notes flushes in a file, and does what it was asked for.
const IP: &str = "#!/bin/sh
if [ \"$1 $2\" = 'tcp_metrics flush' ]; then echo >> \"$SUNSTAR_TCP_METRICS\"; fi
PATH=${PATH#*:} exec ip \"$@\"
";

/// A folder that stands first on the search path of the scripts; it goes when this is dropped.
pub(super) struct Tools {
    folder: PathBuf,
    runs: AtomicU32,
}

impl Tools {
    /// Makes the folder.
    ///
    /// # Errors
    /// If it can't be made.
    pub(super) fn new() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("sunstar-packetdrill-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("{} can't be made", folder.display()))?;
        let ip = folder.join("ip");
        fs::write(&ip, IP)?;
        fs::set_permissions(&ip, fs::Permissions::from_mode(0o755))?;
        Ok(Self { folder, runs: AtomicU32::new(0) })
    }

    /// Has a run find them.
    ///
    /// # Errors
    /// If the search path is no path.
    pub(super) fn prepare(&self, command: &mut Command) -> Result<()> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let path = std::env::var("PATH").context("there is a search path")?;
        command.env("PATH", format!("{}:{path}", self.folder.display()));
        command.env("SUNSTAR_TCP_METRICS", self.folder.join(format!("metrics-{run}")));
        Ok(())
    }
}

impl Drop for Tools {
    fn drop(&mut self) {
        // Whoever looks into the folder of temporary files finds it otherwise.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

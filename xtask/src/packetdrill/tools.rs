//! What scripts and the tool start on their way: `ip`. The plug-in has to hear of it when what is remembered of other hosts is flushed; a
//! kernel has to be told by routes that CUBIC is meant.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// Notes flushes in a file, and does what it was asked for.
const IP_BESIDE_PLUG_IN: &str = "#!/bin/sh
if [ \"$1 $2\" = 'tcp_metrics flush' ]; then echo >> \"$SUNSTAR_TCP_METRICS\"; fi
PATH=${PATH#*:} exec ip \"$@\"
";

/// Names CUBIC in each route that is added. Scripts set it as the namespace's default, which the kernel refuses for namespaces but the first
/// one where it is not the default there; routes may name any (`congctl`).
const IP_BESIDE_KERNEL: &str = "#!/bin/sh
PATH=${PATH#*:}
case \"$2 $3\" in
'route add') exec ip \"$@\" congctl cubic ;;
*) exec ip \"$@\" ;;
esac
";

/// A folder that stands first on the search path of the scripts; it goes when this is dropped.
pub(super) struct Tools {
    folder: PathBuf,
    runs: AtomicU32,
}

impl Tools {
    /// Makes the folder, for runs against the plug-in or the kernel.
    ///
    /// # Errors
    /// If it can't be made.
    pub(super) fn new(is_kernel: bool) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("sunstar-packetdrill-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("{} can't be made", folder.display()))?;
        let ip = folder.join("ip");
        fs::write(&ip, if is_kernel { IP_BESIDE_KERNEL } else { IP_BESIDE_PLUG_IN })?;
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

//! httpd, on its own stack behind the TAP or on the kernel's sockets behind the pair of interfaces.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::world::{KERNEL, NATIVE, TAP, World};
use super::{SERVER_CPU, Side};
use crate::command::{program, target_dir};

/// Within this time it ends.
const PATIENCE: Duration = Duration::from_secs(20);

/// The file of ten kilobytes that is downloaded.
pub(super) const FILE_PATH: &str = "/file/10k";
const FILE_BYTES: usize = 10_240;

/// httpd while it runs. Dropping it ends it.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Server {
    /// Starts httpd and waits until it listens. Its link loses so many of a thousand packets each way.
    ///
    /// # Errors
    /// If it can't be started.
    pub(super) fn start(world: &World, side: Side, per_mille: u32, seed: usize) -> Result<Self> {
        let mut httpd =
            program(&target_dir("release").join("httpd").to_string_lossy(), &["--port", &world.port().to_string()]);
        httpd.args(["--smp", "1", "--prometheus-port", "0", "--cpuset", &SERVER_CPU.to_string()]);
        // Who names the place of a stall has tens of megabytes of symbols for a while, and on a busy machine there is always one.
        httpd.args(["--blocked-reactor-notify-ms", "0"]).arg("--root").arg(files()?);
        let mut command = match side {
            Side::Native => {
                httpd.args([
                    "--network-stack",
                    "native",
                    "--device",
                    &format!("tap:{TAP}"),
                    "--host-ipv4-addr",
                    NATIVE,
                ]);
                if per_mille > 0 {
                    let faults = format!("drop={},seed={seed}", f64::from(per_mille) / 1e3);
                    httpd.args(["--fault", &faults]);
                }
                httpd
            }
            Side::Kernel => {
                httpd.args(["--address", KERNEL]);
                world.lose(per_mille)?;
                world.there(&httpd)
            }
        };
        Self::wait_for(&mut command).with_context(|| format!("starting {command:?}"))
    }

    fn wait_for(command: &mut Command) -> Result<Self> {
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let mut errors = BufReader::new(child.stderr.take().context("its errors are not piped")?);
        let mut lines = String::new();
        let address = loop {
            let length = lines.len();
            let count = errors.read_line(&mut lines)?;
            ensure!(count > 0, "it ended: {lines}");
            if let Some((_, address)) = lines[length..].trim_end().split_once("listening on ") {
                break address.parse()?;
            }
        };
        // Read on, so that the pipe does not fill.
        thread::spawn(move || drop(errors.read_to_end(&mut Vec::new())));
        Ok(Self { child, address })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Errors
    /// If it does not end in time, or not in order.
    pub(super) fn stop(mut self) -> Result<()> {
        let pid = self.pid().to_string();
        ensure!(program("kill", &["-TERM", &pid]).status()?.success(), "process {pid} is gone");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "httpd ended with {status}");
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "process {pid} does not end");
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already unless something failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Makes the directory with the file.
fn files() -> Result<PathBuf> {
    let folder = target_dir("bench").join("files");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let path = folder.join("10k");
    if !path.exists() {
        fs::write(&path, vec![b'x'; FILE_BYTES]).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(folder)
}

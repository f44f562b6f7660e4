//! httpd, on its own stack behind the TAP or by AF_XDP, or on the kernel's sockets behind the pair of interfaces.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::world::{KERNEL, NATIVE, NATIVE_GATEWAY, TAP, World, XDP, XDP_GATEWAY, XDP_THERE};
use super::{SERVER_CPU, Side};
use crate::bench::namespace::bound;
use crate::command::{program, target_dir};

/// Within this time it ends.
const PATIENCE: Duration = Duration::from_secs(20);

/// So much of its log is kept.
const LOG_LINES: usize = 40;

/// The file of ten kilobytes that is downloaded.
pub(super) const FILE_PATH: &str = "/file/10k";
const FILE_BYTES: usize = 10_240;

/// httpd while it runs. Dropping it ends it.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
    /// The last lines of its log.
    log: Arc<Mutex<VecDeque<String>>>,
}

impl Server {
    /// Starts httpd and waits until it listens. Its link loses so many of a thousand packets each way.
    ///
    /// # Errors
    /// If it can't be started.
    pub(super) fn start(world: &World, side: Side, per_mille: u32, seed: usize) -> Result<Self> {
        Self::start_with(world, side, per_mille, seed, &[])
    }

    /// The same with more arguments.
    ///
    /// # Errors
    /// If it can't be started.
    pub(super) fn start_with(
        world: &World,
        side: Side,
        per_mille: u32,
        seed: usize,
        arguments: &[&str],
    ) -> Result<Self> {
        let mut httpd =
            program(&target_dir("release").join("httpd").to_string_lossy(), &["--port", &world.port().to_string()]);
        httpd.args(["--smp", "1", "--prometheus-port", "0", "--cpuset", &SERVER_CPU.to_string()]);
        // Who names the place of a stall has tens of megabytes of symbols for a while, and on a busy machine there is always one.
        httpd.args(["--blocked-reactor-notify-ms", "0"]).arg("--root").arg(files()?).args(arguments);
        let mut command = match side {
            Side::Native => {
                httpd.args(native(&format!("tap:{TAP}"), NATIVE, NATIVE_GATEWAY));
                if per_mille > 0 {
                    let faults = format!("drop={},seed={seed}", f64::from(per_mille) / 1e3);
                    httpd.args(["--fault", &faults]);
                }
                httpd
            }
            Side::Xdp => {
                // The kernel leaves checksums to a device that fills none in: what lies between is memory.
                httpd.args(native(&format!("xdp:{XDP_THERE},checksum=ignore"), XDP, XDP_GATEWAY));
                world.there(&httpd)
            }
            Side::Kernel => {
                httpd.args(["--address", KERNEL]);
                world.lose(per_mille)?;
                world.there(&httpd)
            }
        };
        Self::wait_for(&mut command).with_context(|| format!("starting {command:?}"))
    }

    /// Runs it and waits until it listens.
    ///
    /// # Errors
    /// If it does not.
    pub(super) fn wait_for(command: &mut Command) -> Result<Self> {
        let mut child = bound(command).stderr(Stdio::piped()).spawn()?;
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
        let log = Arc::<Mutex<VecDeque<String>>>::default();
        let kept = Arc::clone(&log);
        thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_back(line);
                while kept.len() > LOG_LINES {
                    kept.pop_front();
                }
            }
        });
        Ok(Self { child, address, log })
    }

    /// How its log ends, for whoever found that something went wrong; and whether it still runs.
    pub(super) fn last_words(&mut self) -> String {
        // What it writes while it ends.
        sleep(Duration::from_millis(200));
        let state = match self.child.try_wait() {
            Ok(Some(status)) => format!("httpd has ended with {status}"),
            _ => "httpd still runs".to_owned(),
        };
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().fold(format!("{state}; the end of its log:"), |text, line| format!("{text}\n    {line}"))
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

fn native<'a>(device: &'a str, address: &'a str, gateway: &'a str) -> [&'a str; 8] {
    ["--network-stack", "native", "--device", device, "--host-ipv4-addr", address, "--gw-ipv4-addr", gateway]
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

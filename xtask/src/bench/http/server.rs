//! The servers that are measured: started, found to answer, stopped.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::peer::Peer;
use super::{DEPTH, Load};
use crate::command::{program, target_dir};

/// Within this time a server listens, and within this time it ends.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// So long a client may take for a head where some send but half of it.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(4);

/// A running server. Dropping it ends it.
pub(in crate::bench) struct Server {
    child: Child,
    address: SocketAddr,
    /// It serves by a process that it starts.
    has_worker: bool,
}

impl Server {
    /// Starts a server on a free port of loopback, pinned to a processor, and waits until it listens.
    ///
    /// # Errors
    /// If it can't be started or does not listen.
    pub(super) fn start(peer: &Peer, load: Load, cpu: usize) -> Result<Self> {
        let address = free_address()?;
        let cpu = cpu.to_string();
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let root = files()?;
        let command = match peer {
            Peer::Floor => floor(address, load),
            Peer::Nginx => nginx(address, load, &root)?,
            Peer::IoUring => httpd(address, load, &cpu, "io_uring", &root),
            Peer::Epoll => httpd(address, load, &cpu, "epoll", &root),
            Peer::Rust(runtime) => runtime.command(&ip, &port, &cpu),
            Peer::Given(given) => given.command(&ip, &port, &cpu)?,
        };
        Self::pinned(command, address, &cpu, matches!(peer, Peer::Nginx))
    }

    fn pinned(command: Command, address: SocketAddr, cpu: &str, has_worker: bool) -> Result<Self> {
        let mut pinned = program("taskset", &["-c", cpu]);
        pinned.arg(command.get_program()).args(command.get_args());
        let child = pinned.spawn().with_context(|| format!("starting {pinned:?}"))?;
        let mut server = Self { child, address, has_worker };
        server.wait_until_it_listens()?;
        Ok(server)
    }

    /// httpd by epoll, which sleeps when there is nothing to do, for others to load.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub(in crate::bench) fn httpd(cpu: usize) -> Result<Self> {
        Self::start(&Peer::Epoll, Load::KeepAlive, cpu)
    }

    /// A server that answers each request after a time that is known.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub(in crate::bench) fn delayed(cpu: usize) -> Result<Self> {
        let address = free_address()?;
        let mut command = built("http-delayed");
        command.args(["--address", &address.to_string()]);
        Self::pinned(command, address, &cpu.to_string(), false)
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            ensure!(Instant::now() < deadline, "it does not listen at {}", self.address);
            sleep(LOOK_EVERY);
        }
        // The master listens before there is the worker, whose time is to be counted.
        while self.has_worker && !self.pids()?.contains(',') {
            ensure!(Instant::now() < deadline, "no worker is started");
            sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Where it listens.
    pub(in crate::bench) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its processes, separated by commas: nginx has a master and a worker.
    ///
    /// # Errors
    /// If it is gone.
    pub(in crate::bench) fn pids(&self) -> Result<String> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
            .with_context(|| format!("reading the children of process {pid}"))?;
        let pids: Vec<String> =
            std::iter::once(pid.to_string()).chain(children.split_whitespace().map(str::to_owned)).collect();
        Ok(pids.join(","))
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Errors
    /// If it does not end in time, or not in order.
    pub(in crate::bench) fn stop(mut self) -> Result<()> {
        let pid = self.child.id().to_string();
        ensure!(program("kill", &["-TERM", &pid]).status()?.success(), "process {pid} is gone");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "process {pid} does not end");
            sleep(LOOK_EVERY);
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

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr())?)
}

fn floor(address: SocketAddr, load: Load) -> Command {
    let mut command = built("http-floor");
    command.args(["--address", &address.to_string()]);
    match load {
        Load::Connect => command.arg("--close"),
        Load::Pipelined => command.args(["--depth", DEPTH]),
        _ => &mut command,
    };
    command
}

fn httpd(address: SocketAddr, load: Load, cpu: &str, backend: &str, root: &Path) -> Command {
    let mut command = built("httpd");
    command.args(["--address", &address.ip().to_string(), "--port", &address.port().to_string()]);
    let fixed = ["--smp", "1", "--log-level", "warn", "--prometheus-port", "0"];
    command.args(fixed).args(["--cpuset", cpu, "--reactor-backend", backend]);
    command.arg("--root").arg(root);
    if load == Load::HalfSent {
        command.args(["--head-timeout-s", &HEAD_TIMEOUT.as_secs().to_string()]);
    }
    if load == Load::Idle {
        // Who names the place of a stall has tens of megabytes of symbols for a while, and on a busy machine there is always one.
        command.args(["--blocked-reactor-notify-ms", "0"]);
    }
    if load != Load::Latency {
        command.args(["--idle-poll-time-us", "0"]);
    }
    command
}

fn built(name: &str) -> Command {
    program(&target_dir("release").join(name).to_string_lossy(), &[])
}

/// One worker that answers from memory and logs nothing.
fn nginx(address: SocketAddr, load: Load, root: &Path) -> Result<Command> {
    let folder = target_dir("bench").join("nginx");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let keep_alive = if load == Load::Connect { "keepalive_timeout 0;" } else { "keepalive_requests 1000000000;" };
    // It has memory for all of them from its start, and closes idle ones when few are free.
    let connections = if load == Load::Idle { 18_000 } else { 4096 };
    let configuration = format!(
        "daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;\n\
         events {{ worker_connections {connections}; }}\n\
         http {{ access_log off; {keep_alive} client_header_timeout {head_timeout}; default_type text/plain; sendfile on; tcp_nopush on;\n\
         server {{ listen {address}; location = / {{ return 200 \"Hello world\\n\"; }}\n\
         location /file/ {{ alias {root}/; }} }} }}\n",
        folder = folder.display(),
        head_timeout = if load == Load::HalfSent { HEAD_TIMEOUT.as_secs() } else { 60 },
        root = root.display()
    );
    let path = folder.join("nginx.conf");
    write(&path, &configuration)?;
    let mut command = program("nginx", &[]);
    command.arg("-p").arg(&folder).arg("-c").arg(&path);
    Ok(command)
}

/// The file that is downloaded, as httpd and nginx are set up.
pub(super) const FILE_PATH: &str = "/file/mebibyte";
const FILE_BYTES: usize = 1 << 20;

/// Makes the directory with the file.
fn files() -> Result<PathBuf> {
    let folder = target_dir("bench").join("files");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let path = folder.join("mebibyte");
    if !path.exists() {
        fs::write(&path, vec![b'x'; FILE_BYTES]).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(folder)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// The version of nginx that is installed.
///
/// # Errors
/// If there is none.
pub(super) fn nginx_version() -> Result<String> {
    let output = program("nginx", &["-v"]).output().context("running nginx (Debian's nginx-light)")?;
    Ok(String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("nginx version: ").to_owned())
}

/// The version of wrk that is installed, if there is one.
pub(super) fn wrk_version() -> Option<String> {
    let output = program("wrk", &["-v"]).output().ok()?;
    String::from_utf8_lossy(&output.stdout).split_whitespace().nth(1).map(str::to_owned)
}

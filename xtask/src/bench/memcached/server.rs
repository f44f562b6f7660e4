//! The servers: started, found to answer, and ended when they are dropped.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{KEY_BYTES, LOAD_CPU, SERVER_CPU, VALUE_BYTES};
use crate::bench::bypass::process::Process;
use crate::bench::noise::TICKS_PER_SECOND;
use crate::command::{program, target_dir};

/// Within this time a server listens and answers, also under valgrind.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// In a namespace of one's own all ports are free.
const PORT: u16 = 11211;
/// The descriptor of memory and rings between two processes is handed over there.
const SOCKET: &str = "memcached.sock";
/// The ends' addresses on the device between them.
pub(super) const NATIVE_SERVER: &str = "10.7.0.2";
const NATIVE_LOAD: &str = "10.7.0.1";

/// Who serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Who {
    /// Ours on the kernel's sockets, with this driver.
    IoUring,
    Epoll,
    /// Ours on its own network.
    Native,
    /// The same, asked by datagrams: by a socket, and by a packet filter before the network sees them.
    NativeSocket,
    NativeFilter,
    /// memcached, with one worker on the server's processor.
    Original,
    /// memcached with two workers, and the load too, on both processors.
    OriginalOnBoth,
    /// Input and output alone.
    Floor,
}

/// How a server is set up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    /// For items, in MiB.
    pub(super) memory_mib: u64,
    /// Whether it may look for work for a while before it sleeps, where it does that.
    pub(super) polls: bool,
    /// Keys of a get: only the floor has to know.
    pub(super) multiget: u32,
    pub(super) shards: usize,
}

impl Who {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::IoUring => "sunstar, io_uring",
            Self::Epoll => "sunstar, epoll",
            Self::Native => "sunstar, vhost-user",
            Self::NativeSocket => "sunstar, UDP socket",
            Self::NativeFilter => "sunstar, packet filter",
            Self::Original => "memcached",
            Self::OriginalOnBoth => "memcached on both processors",
            Self::Floor => "floor",
        }
    }

    /// Whether both ends are ours, without a kernel in between.
    pub(super) fn is_native(self) -> bool {
        matches!(self, Self::Native | Self::NativeSocket | Self::NativeFilter)
    }

    pub(super) fn takes_datagrams(self) -> bool {
        matches!(self, Self::NativeSocket | Self::NativeFilter)
    }

    /// How it is asked, as URLs say it.
    pub(super) fn scheme(self) -> &'static str {
        if self.takes_datagrams() { "memcached-udp" } else { "memcached" }
    }

    /// The options of whoever loads it: its processors, and its network.
    pub(super) fn load_options(self) -> (String, Vec<String>) {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let both = format!("{SERVER_CPU},{LOAD_CPU}");
        match self {
            Self::OriginalOnBoth => (both.clone(), words(&format!("--smp 2 --cpuset {both}"))),
            _ if self.is_native() => (LOAD_CPU.to_string(), {
                let mut options = words(&format!("--smp 1 --cpuset {LOAD_CPU} --host-ipv4-addr {NATIVE_LOAD}"));
                options.extend(device("back"));
                options
            }),
            _ => (LOAD_CPU.to_string(), words(&format!("--smp 1 --cpuset {LOAD_CPU}"))),
        }
    }

    fn command(self, setup: Setup, by: &[String]) -> Command {
        let mut command = match self {
            Self::IoUring => ours(setup, "io_uring"),
            Self::Epoll => ours(setup, "epoll"),
            Self::Native | Self::NativeSocket | Self::NativeFilter => {
                // Where rates are compared both ends look for packets all the time, as they do by default.
                let polls = setup.polls || self == Self::Native;
                let mut command = ours(Setup { polls, ..setup }, "epoll");
                command.args(device("server")).args(["--host-ipv4-addr", NATIVE_SERVER]);
                if self.takes_datagrams() {
                    // What an address may be answered in a second is not what is measured.
                    command.args(["--udp-port", &PORT.to_string(), "--udp-budget", "1G"]);
                }
                command.args((self == Self::NativeFilter).then_some("--udp-in-hook"));
                command
            }
            Self::Original | Self::OriginalOnBoth => original(self, setup.memory_mib),
            Self::Floor => {
                let mut floor = built("memcache-floor");
                floor.args(["--address", &format!("127.0.0.1:{PORT}"), "--multiget", &setup.multiget.to_string()]);
                floor.args(["--key-bytes", &KEY_BYTES.to_string(), "--value-bytes", &VALUE_BYTES.to_string()]);
                floor
            }
        };
        let cpus = match self {
            Self::OriginalOnBoth => format!("{SERVER_CPU},{LOAD_CPU}"),
            _ if setup.shards > 1 => format!("{SERVER_CPU},{LOAD_CPU}"),
            _ => SERVER_CPU.to_string(),
        };
        if self.is_native() || matches!(self, Self::IoUring | Self::Epoll) {
            command.args(["--smp", &setup.shards.to_string(), "--cpuset", &cpus]);
        }
        let mut pinned = program("taskset", &["-c", &cpus]);
        pinned.args(by).arg(command.get_program()).args(command.get_args());
        pinned
    }
}

fn ours(setup: Setup, backend: &str) -> Command {
    let mut command = built("memcached");
    command.args(["--port", &PORT.to_string(), "--cache-memory", &format!("{}M", setup.memory_mib)]);
    command.args(["--prometheus-port", "0", "--blocked-reactor-notify-ms", "0", "--reactor-backend", backend]);
    if !setup.polls {
        command.args(["--idle-poll-time-us", "0"]);
    }
    command
}

fn original(who: Who, memory_mib: u64) -> Command {
    let workers = if who == Who::OriginalOnBoth { "2" } else { "1" };
    let mut command = program("memcached", &["-l", "127.0.0.1", "-U", "0", "-u", "root", "-c", "4096"]);
    command.args(["-p", &PORT.to_string(), "-m", &memory_mib.to_string(), "-t", workers]);
    command
}

fn device(role: &str) -> [String; 4] {
    let socket = target_dir("bench").join(SOCKET);
    let device = format!("vhost-user:{},{role}", socket.display());
    ["--network-stack".to_owned(), "native".to_owned(), "--device".to_owned(), device]
}

pub(super) fn built(name: &str) -> Command {
    program(&target_dir("release").join(name).to_string_lossy(), &[])
}

/// A running server. Dropping it ends it.
pub(super) struct Server {
    process: Process,
    pub(super) address: SocketAddr,
}

impl Server {
    /// Starts it, and waits until it listens.
    ///
    /// # Errors
    /// If it does not.
    pub(super) fn start(who: Who, setup: Setup) -> Result<Self> {
        Self::start_by(who, setup, &[])
    }

    /// Starts it by another program, whose words these are.
    ///
    /// # Errors
    /// If it does not listen.
    pub(super) fn start_by(who: Who, setup: Setup, by: &[String]) -> Result<Self> {
        fs::create_dir_all(target_dir("bench"))?;
        let command = who.command(setup, by);
        let is_native = who.is_native();
        let ip = if is_native { NATIVE_SERVER } else { "127.0.0.1" };
        let address = SocketAddr::new(ip.parse()?, PORT);
        let deadline = Instant::now() + PATIENCE;
        // The kernel may keep a listener of io_uring's for a moment longer than the process that had it.
        while !is_native && TcpStream::connect(address).is_ok() {
            ensure!(Instant::now() < deadline, "somebody listens at {address}");
            sleep(LOOK_EVERY);
        }
        let server = Self { process: Process::start(&command, is_native)?, address };
        while !is_native && TcpStream::connect(server.address).is_err() {
            ensure!(Instant::now() < deadline, "{} does not listen", who.name());
            sleep(LOOK_EVERY);
        }
        Ok(server)
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits until it has ended, which it was told to do.
    ///
    /// # Errors
    /// If it does not, or not in order.
    pub(super) fn wait_for_end(self) -> Result<()> {
        self.process.output(PATIENCE).map(drop)
    }

    /// The processor time that it has used, in seconds.
    ///
    /// # Errors
    /// If it is gone.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        let stat = self.proc("stat")?;
        // The second field is the program's name in parentheses, which may hold spaces; utime and stime are the fields 14 and 15.
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11).take(2));
        let ticks = fields.and_then(|fields| fields.map(|field| field.parse::<f64>().ok()).sum::<Option<f64>>());
        Ok(ticks.context("reading its times")? / TICKS_PER_SECOND)
    }

    /// How often its threads have waited for something to do.
    ///
    /// # Errors
    /// If it is gone.
    pub(super) fn sleeps(&self) -> Result<f64> {
        let mut sleeps = 0.0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid())).context("reading its threads")? {
            let status = fs::read_to_string(thread?.path().join("status")).context("reading a thread's figures")?;
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            sleeps += line.context("a thread never waits")?.trim().parse::<f64>()?;
        }
        Ok(sleeps)
    }

    /// The memory that it occupies, in bytes.
    ///
    /// # Errors
    /// If it is gone.
    pub(super) fn resident_bytes(&self) -> Result<f64> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("it has no memory")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
    }

    fn proc(&self, name: &str) -> Result<String> {
        let path = format!("/proc/{}/{name}", self.pid());
        fs::read_to_string(&path).with_context(|| format!("reading {path}"))
    }

    /// A figure of its `stats`.
    ///
    /// # Errors
    /// If it has none of this name.
    pub(super) fn figure(&self, name: &str) -> Result<u64> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"stats\r\nquit\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
        Ok(line.with_context(|| format!("no {name} in its figures"))?.parse()?)
    }
}

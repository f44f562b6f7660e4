//! `cargo xtask bench fair`: a download from the native stack beside one from the kernel, both CUBIC, through one bottleneck.
//!
//! Both servers are ports of a bridge; from there a token bucket with a queue leads to the client, which is this process.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::server::Server;
use super::world;
use crate::bench::namespace::{self, Namespace, do_it, words};
use crate::bench::{machine, page};
use crate::command::{cargo, program, run as run_program, target_dir};

const CLIENT: &str = "10.7.0.1/24";
const NATIVE: &str = "10.7.0.2";
const KERNEL: &str = "10.7.0.3";
const NETWORK: &str = "10.7.0.0/24";
const PORT: u16 = 10_000;
/// Longer than any download; nothing of it is on the disk.
const FILE_BYTES: u64 = 1 << 40;
/// Bytes that the bucket lets through at once: a few packets.
const BURST: &str = "10k";
/// Jain's index at least.
const BAR: f64 = 0.9;

/// How it is run.
#[derive(clap::Args)]
pub(in crate::bench) struct Options {
    /// How often it is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// What the bottleneck lets through
    #[arg(long, value_name = "MBIT/S", default_value_t = 50)]
    rate: u32,
    /// How much waits before it at most
    #[arg(long, value_name = "KIB", default_value_t = 150)]
    queue: u32,
    /// This httpd, instead of one that is built
    #[arg(long, value_name = "FILE")]
    httpd: Option<PathBuf>,
}

/// Measures and prints both rates and Jain's index of each round; they also go to `fair.md` in `target/bench`.
///
/// # Errors
/// If something can't be built, there may be no network namespaces, a server fails, or the median of the indices misses its bar.
pub(in crate::bench) fn run(options: &Options) -> Result<()> {
    if !namespace::is_inside() {
        if options.httpd.is_none() {
            ensure!(
                run_program(cargo(&["build", "--release"]).args(["--package", "httpd"]))?.success,
                "httpd doesn't build"
            );
        }
        return namespace::enter(world::PROGRAMS);
    }
    let mut text = page::head(&machine::command_line())?;
    text.push_str(&format!(
        "- bottleneck: {} Mbit/s, a queue of {} KiB (tbf); {} s each\n\n| round | native, Mbit/s | kernel, Mbit/s | Jain's index |\n|---|---|---|---|\n",
        options.rate, options.queue, options.seconds
    ));
    let mut indices = Vec::new();
    for round in 1..=options.rounds {
        let [native, kernel] = measure(options)?;
        let index = jain([native, kernel]);
        println!("round {round}: native {native:.1} Mbit/s, kernel {kernel:.1} Mbit/s, Jain's index {index:.3}");
        text.push_str(&format!("| {round} | {native:.1} | {kernel:.1} | {index:.3} |\n"));
        indices.push(index);
    }
    indices.sort_by(f64::total_cmp);
    // Of two in the middle the worse one.
    let median = indices[(indices.len() - 1) / 2];
    text.push_str(&format!("\nMedian of the indices: {median:.3} (bar: {BAR})\n"));
    page::write("fair.md", &text)?;
    ensure!(median >= BAR, "Jain's index is {median:.3}, and has to be {BAR}");
    Ok(())
}

/// Jain's fairness index: 1 if both have the same.
fn jain(rates: [f64; 2]) -> f64 {
    let sum: f64 = rates.iter().sum();
    let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
    if squares > 0.0 { sum * sum / (2.0 * squares) } else { 0.0 }
}

/// What each of two downloads brings, in Mbit/s.
fn measure(options: &Options) -> Result<[f64; 2]> {
    let links = Links::new(options)?;
    let httpd = options.httpd.clone().unwrap_or_else(|| target_dir("release").join("httpd"));
    let httpd = httpd.to_string_lossy();
    let folder = files()?;
    let start = |there: &Namespace, more: &[&str]| {
        let mut command =
            program(&httpd, &["--smp", "1", "--prometheus-port", "0", "--blocked-reactor-notify-ms", "0"]);
        command.args(["--port", &PORT.to_string()]).arg("--root").arg(&folder).args(more);
        Server::wait_for(&mut there.command(&command)).with_context(|| format!("starting {command:?}"))
    };
    let device = ["--network-stack", "native", "--device", "tap:tap0", "--host-ipv4-addr", NATIVE];
    let native = start(&links.bridge, &device)?;
    let kernel = start(&links.kernel, &["--address", KERNEL])?;
    let time = Duration::from_secs(options.seconds.into());
    let downloads = [native.address, kernel.address].map(|address| thread::spawn(move || download(address, time)));
    let [native_bytes, kernel_bytes] = downloads.map(|download| download.join().expect("it does not panic"));
    native.stop()?;
    kernel.stop()?;
    let rate = |bytes: u64| bytes as f64 * 8e-6 / time.as_secs_f64();
    Ok([rate(native_bytes?), rate(kernel_bytes?)])
}

/// How many bytes come within a time.
fn download(from: SocketAddr, time: Duration) -> Result<u64> {
    let end = Instant::now() + time;
    let mut stream = TcpStream::connect(from)?;
    stream.set_read_timeout(Some(time))?;
    stream.write_all(b"GET /file/endless HTTP/1.1\r\nhost: bench\r\n\r\n")?;
    let mut bytes = 0;
    let mut buffer = vec![0; 1 << 18];
    while Instant::now() < end {
        let count = stream.read(&mut buffer).context("reading a download")?;
        ensure!(count > 0, "a download has ended after {bytes} bytes");
        bytes += count as u64;
    }
    Ok(bytes)
}

/// Makes the directory with the file, which has no blocks.
fn files() -> Result<PathBuf> {
    let folder = target_dir("bench").join("endless");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let file = File::create(folder.join("endless")).context("making the file")?;
    file.set_len(FILE_BYTES).context("making the file long")?;
    Ok(folder)
}

/// The bridge, and the kernel's server behind it.
struct Links {
    bridge: Namespace,
    kernel: Namespace,
}

impl Links {
    fn new(options: &Options) -> Result<Self> {
        let links = Self { bridge: Namespace::new()?, kernel: Namespace::new()? };
        let (bridge, kernel) = (links.bridge.pid(), links.kernel.pid());
        for arguments in [
            "link add br0 type bridge".to_owned(),
            "link set br0 up".to_owned(),
            "tuntap add dev tap0 mode tap".to_owned(),
            "link set tap0 txqueuelen 20000 master br0 up".to_owned(),
            format!("link add kernel0 type veth peer name veth0 netns {kernel}"),
            "link set kernel0 master br0 up".to_owned(),
        ] {
            links.bridge.ip(&arguments)?;
        }
        links.kernel.ip(&format!("addr add {KERNEL}/24 dev veth0"))?;
        links.kernel.ip("link set veth0 up")?;
        // By the route, since a namespace may not choose any as its default.
        links.kernel.ip(&format!("route replace {NETWORK} dev veth0 congctl {}", world::CONGESTION))?;
        for arguments in [
            format!("link add client0 type veth peer name client1 netns {bridge}"),
            format!("addr add {CLIENT} dev client0"),
            "link set client0 up".to_owned(),
        ] {
            do_it(&mut words("ip", &arguments))?;
        }
        links.bridge.ip("link set client1 master br0 up")?;
        let (rate, queue) = (options.rate, options.queue);
        let bucket = format!("qdisc add dev client1 root tbf rate {rate}mbit burst {BURST} limit {queue}k");
        do_it(&mut links.bridge.command(&words("tc", &bucket)))?;
        Ok(links)
    }
}

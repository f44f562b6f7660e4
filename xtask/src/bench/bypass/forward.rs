//! Forwarding between two vhost-user ports on one processor, by Sunstar and by testpmd of DPDK, while a second testpmd on the other
//! processor sends each packet back: what a packet costs whoever forwards.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::contest::{Contest, Contestant};
use super::hugepages::Hugepages;
use super::pair::{CPUS, Figures};
use super::process::Process;
use crate::command::{exists, program, target_dir};

const TESTPMD: &str = "dpdk-testpmd";
/// Debian's, which has it.
pub(super) const PACKAGE: &str = "dpdk-dev";
const PROMPT: &str = "testpmd> ";
/// What one testpmd asks for.
const MEMORY_MIB: u64 = 256;
const BUFFERS: &str = "--total-num-mbufs=16384";
/// Packets on their way, in bursts of 32 in each direction: as many as one ring has room for.
const BURSTS: &str = "4";
const RING: usize = 256;
/// Nothing is counted for so long after the first packet: as `sunstar-forward` has it.
const WARM_UP: Duration = Duration::from_millis(200);

/// Has a contestant forward once.
///
/// # Errors
/// If a program is missing, can't be started, or fails, or there are no large pages for it: what it said.
pub(super) fn measure(contest: &Contest, contestant: Contestant, seconds: &str) -> Result<Figures> {
    ensure!(exists(TESTPMD), "{TESTPMD} is not installed (Debian's {PACKAGE})");
    let _pages = Hugepages::reserve(2, MEMORY_MIB)?;
    let sockets = [socket(0)?, socket(1)?];
    let figures = match contestant {
        Contestant::Testpmd => testpmd(&sockets, contest.value, seconds),
        _ => sunstar(&sockets, contest.value, seconds),
    }?;
    ensure!(figures.dropped == 0.0, "{} packets were dropped, which costs less than to forward them", figures.dropped);
    Ok(figures)
}

fn sunstar(sockets: &[PathBuf; 2], bytes: u32, seconds: &str) -> Result<Figures> {
    let mut forwarder = program("taskset", &["-c", &CPUS[0].to_string()]);
    forwarder.arg(target_dir("release").join("sunstar-forward")).args(sockets).arg(seconds);
    let forwarder = Process::start(&forwarder, true)?;
    let mut generator = Testpmd::generate(sockets, bytes)?;
    let figures = forwarder.figures(seconds)?;
    Ok(Figures { generator_cycles: generator.counts()?.each()?, ..figures })
}

fn testpmd(sockets: &[PathBuf; 2], bytes: u32, seconds: &str) -> Result<Figures> {
    let mut forwarder = Testpmd::start("forwarder", CPUS[0], &vdevs("net_vhost", "iface", sockets, ""), &[])?;
    forwarder.ask("start")?;
    let mut generator = Testpmd::generate(sockets, bytes)?;
    sleep(WARM_UP);
    let (before, begin) = (forwarder.counts()?, Instant::now());
    sleep(Duration::try_from_secs_f64(seconds.parse()?)?);
    let (counts, time) = (forwarder.counts()?.since(&before), begin.elapsed());
    Ok(Figures {
        cycles: counts.each()?,
        messages: counts.packets / time.as_secs_f64(),
        dropped: counts.dropped,
        generator_cycles: generator.counts()?.each()?,
        ..Figures::default()
    })
}

/// A place for a socket at which nobody listens.
fn socket(place: usize) -> Result<PathBuf> {
    let folder = target_dir("bench");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let path = folder.join(format!("forward{place}.sock"));
    // Whoever listened there before may have been killed.
    drop(fs::remove_file(&path));
    Ok(path)
}

/// The virtual devices at these sockets.
fn vdevs(driver: &str, key: &str, sockets: &[PathBuf; 2], more: &str) -> Vec<String> {
    let vdev = |(place, path): (usize, &PathBuf)| format!("--vdev={driver}{place},{key}={}{more}", path.display());
    sockets.iter().enumerate().map(vdev).collect()
}

/// testpmd, which passes packets on from one port to the other without a look at them.
struct Testpmd(Process);

impl Testpmd {
    /// Starts one by a name of its own, which has everything it does on one processor.
    fn start(name: &str, cpu: usize, vdevs: &[String], more: &[&str]) -> Result<Self> {
        let folder = target_dir("bench").join("dpdk").join(name);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let mut command: Command = program("env", &[&format!("RUNTIME_DIRECTORY={}", folder.display())]);
        // Else what it prints only comes at its end.
        command.args(["stdbuf", "-oL", TESTPMD, "--no-pci", "--no-telemetry", "--in-memory", "--single-file-segments"]);
        command.args(["-m", &MEMORY_MIB.to_string(), "--lcores", &format!("0@{cpu},1@{cpu}")]).args(vdevs);
        command.args(["--", "--interactive", "--no-mlockall", BUFFERS, "--record-core-cycles", "--forward-mode=io"]);
        Ok(Self(Process::converse(command.args(more), PROMPT)?))
    }

    /// Starts the one at the other end of the sockets, and has it send the first packets.
    fn generate(sockets: &[PathBuf; 2], bytes: u32) -> Result<Self> {
        let vdevs = vdevs("net_virtio_user", "path", sockets, &format!(",queue_size={RING}"));
        let mut generator = Self::start("generator", CPUS[1], &vdevs, &[&format!("--txpkts={bytes}")])?;
        generator.ask(&format!("start tx_first {BURSTS}"))?;
        Ok(generator)
    }

    fn ask(&mut self, line: &str) -> Result<String> {
        self.0.ask(line, PROMPT)
    }

    fn counts(&mut self) -> Result<Counts> {
        let said = self.ask("show fwd stats all")?;
        Counts::read(&said).with_context(|| format!("reading `{said}`"))
    }
}

/// What a testpmd has done since it was told to start.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Counts {
    /// Of the bursts in which it found packets.
    cycles: f64,
    packets: f64,
    dropped: f64,
}

impl Counts {
    /// Finds them in what it says of its ports, the sum of which comes last.
    fn read(said: &str) -> Option<Self> {
        let last = |name| number(said.rsplit_once(name)?.1);
        Some(Self {
            cycles: last("(total cycles=")?,
            packets: last("packets=")?,
            dropped: last("RX-dropped:")? + last("TX-dropped:")?,
        })
    }

    fn since(&self, before: &Self) -> Self {
        let Self { cycles, packets, dropped } = before;
        Self { cycles: self.cycles - cycles, packets: self.packets - packets, dropped: self.dropped - dropped }
    }

    /// Cycles of a packet.
    fn each(&self) -> Result<f64> {
        ensure!(self.packets > 0.0, "testpmd has had no packet");
        Ok(self.cycles / self.packets)
    }
}

/// The number that a text begins with.
fn number(text: &str) -> Option<f64> {
    let text = text.trim_start();
    text[..text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Counts;

    const SAID: &str = "show fwd stats all\r\n\
        \n  ---------------------- Forward statistics for port 0  ----------------------\
        \n  RX-packets: 398528         RX-dropped: 7             RX-total: 398535\
        \n  TX-packets: 398560         TX-dropped: 0             TX-total: 398560\
        \n  +++++++++++++++ Accumulated forward statistics for all ports+++++++++++++++\
        \n  RX-packets: 797088         RX-dropped: 9             RX-total: 797097\
        \n  TX-packets: 797085         TX-dropped: 3             TX-total: 797088\
        \n  CPU cycles/packet=546.63 (total cycles=435714108 / total io packets=797088) at 2300 MHz Clock\ntestpmd> ";

    #[test]
    fn reads_the_sum_of_what_testpmd_has_done() {
        let counts = Counts::read(SAID).expect("it is all there");
        assert_eq!(counts, Counts { cycles: 435_714_108.0, packets: 797_088.0, dropped: 12.0 });
        assert!((counts.each().expect("there were packets") - 546.63).abs() < 0.01);
        let nothing = counts.since(&counts);
        assert!(nothing.packets == 0.0 && nothing.each().is_err());
        // It tells no cycles before there was a packet.
        assert_eq!(Counts::read("RX-packets: 0 RX-dropped: 0 TX-packets: 0 TX-dropped: 0"), None);
    }
}

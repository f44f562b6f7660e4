//! packetdrill's scripts against Sunstar's sockets, or against the kernel. google/packetdrill and its scripts are the user's: nothing of them
//! is in the repository, which has scripts of its own.

mod scripts;
mod tools;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::command::{cargo, root};
use scripts::{Run, Variant};
use tools::Tools;

/// Looks whether a program has ended so often.
const POLL: Duration = Duration::from_millis(10);

/// Which scripts, against what.
#[derive(Args)]
pub(crate) struct Options {
    /// The tool, built from its sources
    #[arg(long, value_name = "FILE")]
    bin: PathBuf,
    /// The folder of scripts, with all folders in it; without it the repository's own ones
    #[arg(long, value_name = "DIR", default_value_os_t = root().join("crates/packetdrill/scripts"))]
    scripts: PathBuf,
    /// Run against the kernel, each script in a network namespace of its own
    #[arg(long)]
    kernel: bool,
    /// Show each run, and of those that fail the first difference
    #[arg(short, long)]
    verbose: bool,
    /// Only runs whose name, such as `close/simple.pkt (ipv4)`, contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Only over this version of IP
    #[arg(long, value_enum)]
    variant: Option<Variant>,
    /// So many at a time; as many as there are processors if nothing is said, and one against the kernel, whose clock is real
    #[arg(long)]
    jobs: Option<usize>,
    /// Give up a run after so many seconds
    #[arg(long, default_value_t = 60)]
    timeout: u64,
    /// Try a run that fails so often; once if nothing is said, and three times against the kernel, which has to share the machine
    #[arg(long, value_name = "COUNT")]
    tries: Option<u32>,
    /// Fail if fewer pass
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    least: usize,
}

/// What came of a run: nothing if it has passed, else the first difference.
type Verdict = Option<String>;

/// Runs the scripts and prints passed and failed by folder.
///
/// # Errors
/// If the plug-in can't be built, there are no scripts, or fewer pass than demanded.
pub(crate) fn run(options: &Options) -> Result<()> {
    let bin = options.bin.canonicalize().with_context(|| format!("{} is not there", options.bin.display()))?;
    let plug_in = if options.kernel { None } else { Some(build()?) };
    let mut runs = scripts::find(&options.scripts)?;
    runs.retain(|run| options.only.as_ref().is_none_or(|only| run.name.contains(only)));
    runs.retain(|run| options.variant.is_none_or(|variant| run.variant == variant));
    ensure!(!runs.is_empty(), "no scripts in {}", options.scripts.display());
    let usual = if options.kernel { 1 } else { thread::available_parallelism().map_or(1, usize::from) };
    let jobs = options.jobs.unwrap_or(usual).max(1);
    let tries = options.tries.unwrap_or(if options.kernel { 3 } else { 1 }).max(1);
    let began = Instant::now();
    let tools = Tools::new(options.kernel)?;
    let limit = Duration::from_secs(options.timeout);
    let attempt = |run: &Run| run_one(&bin, plug_in.as_deref(), &tools, run, limit);
    let verdicts = run_all(&runs, jobs, |run| try_again(tries, || attempt(run)))?;
    let passed = report(&runs, &verdicts, options.verbose);
    println!("{passed} of {} runs passed, {:.1} s", runs.len(), began.elapsed().as_secs_f64());
    ensure!(passed >= options.least, "{passed} passed, at least {} were to", options.least);
    Ok(())
}

fn build() -> Result<PathBuf> {
    let status = cargo(&["build", "--package", "sunstar-packetdrill"]).status()?;
    ensure!(status.success(), "the plug-in can't be built");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join("debug/libsunstar_packetdrill.so").canonicalize()?)
}

/// Until it has passed, so often at most; answers what came of the last time.
fn try_again(tries: u32, attempt: impl Fn() -> Result<Verdict>) -> Result<Verdict> {
    let mut verdict = attempt()?;
    for _ in 1..tries {
        if verdict.is_none() {
            break;
        }
        verdict = attempt()?;
    }
    Ok(verdict)
}

/// Runs all, several at a time; answers what came of each.
fn run_all(runs: &[Run], jobs: usize, attempt: impl Fn(&Run) -> Result<Verdict> + Sync) -> Result<Vec<Verdict>> {
    let next = Mutex::new(0);
    let verdicts = Mutex::new(vec![None; runs.len()]);
    let take = || {
        let mut next = next.lock().ok()?;
        let index = *next;
        *next += 1;
        runs.get(index).map(|run| (index, run))
    };
    let work = || -> Result<()> {
        while let Some((index, run)) = take() {
            let verdict = attempt(run)?;
            if let Ok(mut verdicts) = verdicts.lock() {
                verdicts[index] = verdict;
            }
        }
        Ok(())
    };
    let outcomes: Vec<Result<()>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| bail!("a worker panicked"))).collect()
    });
    outcomes.into_iter().collect::<Result<()>>()?;
    Ok(verdicts.into_inner().unwrap_or_default())
}

/// What is done in the namespace before the tool starts: scripts set queues of a device, which in this mode nobody makes.
const PREPARE: &str = "ip link set lo up; ip tuntap add tun0 mode tun; exec \"$@\"";
const PREPARE_KERNEL: &str = "ip link set lo up; exec \"$@\"";

fn run_one(bin: &Path, plug_in: Option<&Path>, tools: &Tools, run: &Run, limit: Duration) -> Result<Verdict> {
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let prepare = if plug_in.is_some() { PREPARE } else { PREPARE_KERNEL };
    command.args(["--net", "sh", "-c", prepare, "sh"]);
    tools.prepare(&mut command)?;
    if let Some(plug_in) = plug_in {
        command.arg("env").arg(format!("LD_PRELOAD={}", plug_in.display()));
    }
    command.arg(bin).arg("--send_omit_free").args(run.variant.arguments());
    if let Some(plug_in) = plug_in {
        command.arg(format!("--so_filename={}", plug_in.display()));
        command.arg(format!("--so_flags={}", run.variant.plug_in_flags()));
    }
    let (folder, file) = (run.path.parent().context("a script lies in a folder")?, run.path.file_name());
    command.arg(file.context("a script has a name")?).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().context("unshare can't be started")?;
    let mut stderr = child.stderr.take().context("it has standard error")?;
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        stderr.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned())
    });
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if began.elapsed() > limit {
            kill_group(child.id())?;
            child.wait()?;
            break None;
        }
        thread::sleep(POLL);
    };
    let text = reader.join().ok().and_then(Result::ok).unwrap_or_default();
    Ok(match status {
        Some(status) if status.success() => None,
        Some(_) => Some(text.trim().to_owned()),
        None => Some(format!("no end within {} s\n{}", limit.as_secs(), text.trim())),
    })
}

/// Ends a run, with all that it has started: it is the leader of its process group.
fn kill_group(leader: u32) -> Result<()> {
    Command::new("kill").args(["-KILL", "--", &format!("-{leader}")]).stderr(Stdio::null()).status()?;
    Ok(())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

/// Prints what came of the runs; answers how many have passed.
fn report(runs: &[Run], verdicts: &[Verdict], is_verbose: bool) -> usize {
    let mut folders: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (run, verdict) in runs.iter().zip(verdicts) {
        let (passed, all) = folders.entry(run.folder()).or_default();
        *passed += usize::from(verdict.is_none());
        *all += 1;
        if is_verbose {
            println!("{} {}", if verdict.is_none() { "ok  " } else { "FAIL" }, run.name);
            for line in verdict.iter().flat_map(|text| text.lines()) {
                println!("     {line}");
            }
        }
    }
    println!("{:<24} {:>6} {:>6}", "folder", "passed", "failed");
    for (folder, (passed, all)) in &folders {
        println!("{folder:<24} {passed:>6} {:>6}", all - passed);
    }
    folders.values().map(|(passed, _)| passed).sum()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_run_is_tried_until_it_passes_and_not_more_often_than_allowed() {
        let tried = |tries: u32, passes_at: u32| {
            let count = Cell::new(0);
            let verdict = try_again(tries, || {
                count.set(count.get() + 1);
                Ok((count.get() < passes_at).then(|| "no".to_owned()))
            });
            (verdict.expect("nothing is wrong with the command").is_none(), count.get())
        };
        assert_eq!(
            [tried(1, 2), tried(3, 2), tried(3, 1), tried(3, 4)],
            [(false, 1), (true, 2), (true, 1), (false, 3)]
        );
    }
}

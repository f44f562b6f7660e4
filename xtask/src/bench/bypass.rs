//! `cargo xtask bench bypass`: two processes of Sunstar, each on a processor of its own and joined by a device without a kernel, beside
//! the kernel's best set-up on the same two processors; and packets that one of them forwards, beside DPDK.

mod contest;
mod docs;
mod forward;
mod hugepages;
mod pair;
mod plot;
pub(super) mod process;
mod table;
mod veth;
pub(super) mod world;

use anyhow::{Result, ensure};

use self::contest::{Contest, Group};
use self::table::Table;
use self::veth::Neighbour;
use super::noise::Watch;
use super::{machine, namespace, page};
use crate::command::{cargo, run as run_program};

/// How the benchmark is run.
#[derive(clap::Args)]
pub(super) struct Options {
    /// How often each is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Only contests whose name contains this (may be repeated); the page in docs is left as it is
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Measure each once for a quarter of a second; the page in docs is left as it is
    #[arg(long)]
    short: bool,
}

impl Options {
    fn rounds(&self) -> usize {
        if self.short { 1 } else { self.rounds as usize }
    }

    fn seconds(&self) -> f64 {
        if self.short { 0.25 } else { self.seconds }
    }

    fn asks_for(&self, contest: &Contest) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| contest.name().contains(only))
    }

    /// Whether what is measured is measured as long as claims need.
    fn is_for_claims(&self) -> bool {
        self.rounds() >= 3 && self.seconds() >= 1.0
    }

    /// Whether everything is measured, and not just for a look.
    fn is_whole(&self) -> bool {
        !self.short && self.only.is_empty()
    }
}

/// Runs everything and prints the tables; they also go to `bypass.md` in `target/bench`, and if everything was measured into
/// `docs/benchmarks.md`, with plots.
///
/// # Errors
/// If a program can't be built or is missing, or there may be no network namespace. That a run fails is in the tables.
pub(super) fn run(options: &Options) -> Result<()> {
    let contests: Vec<Contest> = Contest::all().into_iter().filter(|contest| options.asks_for(contest)).collect();
    ensure!(!contests.is_empty(), "no contest's name contains any of {:?}", options.only);
    if !namespace::is_inside() {
        build(&contests)?;
        return namespace::enter(&world::PROGRAMS);
    }
    world::set_up()?;
    let tables = measure_all(&contests, options)?;
    let title = machine::command_line();
    let text = docs::section(options, &tables)?;
    page::write("bypass.md", &format!("{}{text}", page::head(&title)?))?;
    if options.is_whole() { docs::publish(&text, &tables) } else { Ok(()) }
}

/// Builds the programs that these contests need.
fn build(contests: &[Contest]) -> Result<()> {
    let is_any = |group| contests.iter().any(|contest| contest.group == group);
    let (mut of_sunstar, mut packages) = (Vec::new(), Vec::new());
    if contests.iter().any(|contest| !matches!(contest.group, Group::Shards | Group::Forward)) {
        of_sunstar.push("sunstar-bypass");
        packages.extend(["--package", "sunstar-bench-http"]);
    }
    if is_any(Group::Shards) {
        of_sunstar.push("sunstar-shards");
    }
    if is_any(Group::Forward) {
        of_sunstar.push("sunstar-forward");
    }
    if is_any(Group::Http) {
        packages.extend(["--package", "httpd"]);
    }
    super::program::build_sunstar(&of_sunstar)?;
    if packages.is_empty() {
        return Ok(());
    }
    let built = run_program(cargo(&["build", "--release"]).args(packages))?;
    ensure!(built.success, "the programs don't build");
    Ok(())
}

/// Measures in rounds, each of which has every contest with all its contestants, in another order each time.
fn measure_all(contests: &[Contest], options: &Options) -> Result<Vec<Table>> {
    let mut tables: Vec<Table> = contests.iter().map(Table::new).collect();
    let has_veth = contests.iter().any(|contest| contest.group.is_veth());
    let neighbour = has_veth.then(Neighbour::new).transpose()?;
    for round in 0..options.rounds() {
        for (contest, table) in contests.iter().zip(&mut tables) {
            let watch = Watch::start();
            let contestants = contest.contestants();
            for contestant in contestants.iter().cycle().skip(round % contestants.len()).take(contestants.len()) {
                let result = pair::measure(contest, *contestant, options.seconds(), neighbour.as_ref());
                match &result {
                    Ok(figures) => println!("{:<16} {:<40} {figures}", contest.name(), contestant.name()),
                    Err(error) => println!("{:<16} {:<40} FAILED: {error:#}", contest.name(), contestant.name()),
                }
                table.add(*contestant, result);
            }
            table.add_noise(watch.cores_used_by_others());
        }
    }
    Ok(tables)
}

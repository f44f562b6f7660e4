//! The benchmarks of `sunstar-bench-common` on Sunstar, as an application would use it.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use sunstar_bench_common::cli::{self, Entry};
use sunstar_bench_common::local::{self, Runtime, Semaphores};
use sunstar_bench_common::measure::Reporter;
use sunstar_bench_common::shares::{self, Groups};
use sunstar_bench_common::{idle, timers};
use sunstar_executor::sync::Semaphore;
use sunstar_executor::{SchedulingGroup, spawn, spawn_in, timer, yield_now};
use sunstar_reactor::{Config, CpuSet, run};

mod cross;

fn main() -> ExitCode {
    let entries: [&[Entry]; 6] = [
        &local::entries::<Sunstar>(),
        &local::semaphore_entries::<Sunstar>(),
        &timers::entries::<Sunstar>(),
        &shares::entries::<Sunstar>(),
        &cross::entries(),
        &[Entry::new(Sunstar::NAME, "idle", idle_shards)],
    ];
    cli::main(&entries.concat())
}

/// Sunstar's executor under its reactor.
struct Sunstar;

impl Runtime for Sunstar {
    const NAME: &'static str = "sunstar";

    fn run<F: Future<Output = ()> + 'static>(core: usize, main: impl FnOnce() -> F + Send + 'static) {
        run(on_cores([core]), main).expect("the core exists and may be used");
    }

    fn spawn<F: Future + 'static>(future: F) -> impl Future<Output = F::Output> + 'static {
        let join = spawn(future);
        async move { join.await.expect("benchmarks don't panic") }
    }

    fn yield_now() -> impl Future<Output = ()> {
        yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        timer::sleep(duration)
    }
}

impl Semaphores for Sunstar {
    type Semaphore = Semaphore;

    fn semaphore(permits: usize) -> Semaphore {
        Semaphore::new(permits)
    }

    fn acquire(semaphore: &Semaphore) -> impl Future<Output: Sized> {
        semaphore.acquire(1)
    }
}

impl Groups for Sunstar {
    type Group = SchedulingGroup;

    async fn group(shares: u16) -> SchedulingGroup {
        SchedulingGroup::create("bench", shares.into()).await.expect("there is room for two groups")
    }

    fn spawn_in<F: Future + 'static>(group: SchedulingGroup, future: F) -> impl Future<Output = F::Output> + 'static {
        let join = spawn_in(group, future);
        async move { join.await.expect("benchmarks don't panic") }
    }
}

/// One shard per core, the rest as it is for any application.
fn on_cores<const N: usize>(cores: [usize; N]) -> Config {
    let mut cpuset = CpuSet::default();
    for core in cores {
        cpuset.insert(u32::try_from(core).expect("cores are few"));
    }
    Config { smp: Some(N), cpuset: Some(cpuset), ..Config::default() }
}

fn idle_shards(reporter: Reporter) {
    let rest = idle::SETTLE + reporter.plan.idle + Duration::from_millis(200);
    let shards = std::thread::spawn(move || run(on_cores([0, 1]), move || timer::sleep(rest)));
    idle::watch(reporter);
    shards.join().expect("an idle shard has nothing to panic about").expect("two cores exist and may be used");
}

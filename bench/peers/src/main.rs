//! The benchmarks of `sunstar-bench-common` on other runtimes and channels, and the machine's floors.

use std::process::ExitCode;

use sunstar_bench_common::cli::{self, Entry};
use sunstar_bench_common::{floor, idle, local, shares, timers};

mod channels;
mod glommio_peer;
mod monoio_peer;
mod tokio_peer;

use glommio_peer::Glommio;
use monoio_peer::Monoio;
use tokio_peer::Tokio;

fn main() -> ExitCode {
    let entries: [&[Entry]; 15] = [
        &floor::entries(),
        &local::entries::<Glommio>(),
        &local::semaphore_entries::<Glommio>(),
        &timers::entries::<Glommio>(),
        &shares::entries::<Glommio>(),
        &idle::entries::<Glommio>(),
        &glommio_peer::cross_entries(),
        &local::entries::<Tokio>(),
        &local::semaphore_entries::<Tokio>(),
        &timers::entries::<Tokio>(),
        &idle::entries::<Tokio>(),
        &tokio_peer::cross_entries(),
        &local::entries::<Monoio>(),
        &idle::entries::<Monoio>(),
        &channels::entries(),
    ];
    cli::main(&entries.concat())
}

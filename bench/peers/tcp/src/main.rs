//! TCP of others, both ends on one core: the kernel's over loopback, smoltcp and lwIP over a link in memory.

use std::process::ExitCode;

use sunstar_bench_common::tcp::linux::Linux;
use sunstar_bench_common::{cli, tcp_entries};

#[cfg(feature = "lwip")]
mod lwip_peer;
mod smoltcp_peer;

fn main() -> ExitCode {
    let entries = [
        tcp_entries!("linux", Linux),
        tcp_entries!("smoltcp", smoltcp_peer::Smoltcp),
        #[cfg(feature = "lwip")]
        tcp_entries!("lwip", lwip_peer::Lwip),
    ];
    cli::main(&entries.concat())
}

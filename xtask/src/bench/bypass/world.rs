//! The kernel's set-up: a network namespace in which nothing holds its TCP back.

use std::fs;

use anyhow::{Context, Result};

use crate::bench::namespace::{do_it, words};

/// What is needed, and Debian's packages.
pub(in crate::bench) const PROGRAMS: [(&str, &str); 3] =
    [("nsenter", "util-linux"), ("taskset", "util-linux"), ("ip", "iproute2")];

/// What is set, below `/proc/sys/net`.
pub(super) const SETTINGS: [(&str, &str); 6] = [
    ("ipv4/ip_local_port_range", "1024 65535"),
    // Else a connection that is over may have the port of a server that starts.
    ("ipv4/ip_local_reserved_ports", "6999-7064,10000"),
    ("ipv4/tcp_tw_reuse", "1"),
    // Others may pace what is sent, which costs much over loopback.
    ("ipv4/tcp_congestion_control", "reno"),
    ("ipv4/tcp_max_syn_backlog", "16384"),
    ("core/somaxconn", "16384"),
];

/// Sets this process's namespace up.
///
/// # Errors
/// If the kernel refuses.
pub(in crate::bench) fn set_up() -> Result<()> {
    do_it(&mut words("ip", "link set lo up"))?;
    for (name, value) in SETTINGS {
        let path = format!("/proc/sys/net/{name}");
        fs::write(&path, value).with_context(|| format!("writing {value} to {path}"))?;
    }
    Ok(())
}

//! Streams with kernels that are set differently, over a line that loses packets.

use std::fs;
use std::net::TcpStream;

use sunstar_reactor::Backend;

use super::meeting::{here, kernel_talks, meet, stack_talks};
use super::namespace::in_namespace;
use super::stack::{KERNEL_V4, Setup};
use super::streams::make_tap;

/// Settings of the namespace, all of which its kernel begins with otherwise.
const SETTINGS: &[&[(&str, &str)]] = &[
    &[("tcp_timestamps", "0")],
    &[("tcp_sack", "0")],
    &[("tcp_window_scaling", "0")],
    // Nothing that was thought of later than 1988.
    &[("tcp_timestamps", "0"), ("tcp_sack", "0"), ("tcp_window_scaling", "0")],
    &[("tcp_ecn", "1")],
    // Every connection to the kernel is opened by a cookie.
    &[("tcp_syncookies", "2")],
    &[("tcp_syncookies", "2"), ("tcp_timestamps", "0")],
    // Windows may become smaller than was told before.
    &[("tcp_shrink_window", "1"), ("tcp_rmem", "4096 16384 65536")],
    &[("tcp_rmem", "2304 2304 2304")],
    &[("tcp_wmem", "4608 4608 4608")],
    &[("tcp_mtu_probing", "2"), ("tcp_base_mss", "256")],
    &[("tcp_recovery", "0"), ("tcp_early_retrans", "0"), ("tcp_dsack", "0")],
    &[("tcp_frto", "0"), ("tcp_thin_linear_timeouts", "1"), ("tcp_retrans_collapse", "0")],
    &[("tcp_congestion_control", "reno"), ("tcp_slow_start_after_idle", "0")],
    &[("tcp_min_tso_segs", "1"), ("tcp_autocorking", "0"), ("tcp_limit_output_bytes", "4096")],
    &[("tcp_comp_sack_delay_ns", "20000000"), ("tcp_comp_sack_nr", "250")],
];

fn path(name: &str) -> String {
    format!("/proc/sys/net/ipv4/{name}")
}

/// What the kernel has done by itself is no matter of the version of IP, so one is enough.
#[test]
fn kernels_may_be_set_otherwise() {
    in_namespace(|| {
        make_tap(1_500);
        for settings in SETTINGS {
            let before: Vec<_> = settings.iter().map(|(name, _)| fs::read_to_string(path(name))).collect();
            for (name, value) in *settings {
                match fs::write(path(name), value) {
                    Ok(()) => println!("{name} = {value}"),
                    Err(error) => println!("not set: this kernel has no {name} of the namespace: {error}"),
                }
            }
            let setup = Setup {
                faults: "drop=0.005,reorder=0.01,delay=1ms,seed=5",
                kernel: vec![KERNEL_V4.into()],
                ..Setup::new(Backend::Epoll, "tap0")
            };
            let bytes = 200_000;
            meet(
                &setup,
                &here,
                move |stream: TcpStream| kernel_talks(&stream, bytes),
                move |stream| stack_talks(stream, bytes),
            );
            for ((name, _), before) in settings.iter().zip(before) {
                // What could not be read could not be set.
                let _ = before.map(|before| fs::write(path(name), before));
            }
        }
    });
}

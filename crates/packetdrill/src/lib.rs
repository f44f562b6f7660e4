//! Sunstar's sockets as a plug-in for google/packetdrill, on a virtual clock.
//!
//! packetdrill runs scripts of system calls and packets. With `--so_filename=libsunstar_packetdrill.so` it hands both to this library
//! instead of the kernel ([`interface`]); no device is made, and no privilege is needed. Time is ours too: it passes when the script
//! waits, so a script of minutes takes milliseconds, and the same happens in each run.
//!
//! - **Descriptors** are reserved from the kernel, so that no number means two things.
//! - **Calls that block** come from a second thread. Time does not pass before a thread whose call has ended has asked what time it is
//!   (`machine.rs`).
//! - **Some calls go around the interface**: those that collect `TCP_INFO` for a script's code, and `sendfile`. If the library
//!   is loaded before libc as well (`LD_PRELOAD`), it answers them (`interposed.rs`).
//! - **Settings** are those of the network namespace in which the script runs: what `sysctl` sets there holds here (`sysctl.rs`).
//!
//! The library never sees a script or its name. Its options, by `--so_flags`: `ipv4=ADDRESS/LEN`, `ipv6=ADDRESS/LEN`, `mtu=BYTES`,
//! separated by commas. What a script binds to is taken for one of our addresses too.

mod functions;
pub mod interface;
mod interposed;
mod machine;
mod memory;
mod messages;
mod numbers;
mod options;
mod sysctl;

pub use functions::packetdrill_interface_init;

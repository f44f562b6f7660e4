//! Whole hosts in one thread: the same executors, sockets and programs as on a real machine, under a virtual clock, on a
//! network that misbehaves as one seed says.
//!
//! # A tour
//!
//! A [`Sim`] is a world with one clock. It has hosts; a host has a name, an address, and several shards, each with an executor
//! of its own; its main function runs on shard 0. Programs use `sunstar_executor` and `sunstar_net` as everywhere.
//!
//! ```
//! use std::time::Duration;
//!
//! use sunstar_executor::{invoke_on_all, spawn, timer::sleep};
//! use sunstar_net::{ListenerOptions, TcpListener, TcpStream};
//! use sunstar_sim::{Report, Sim, SimError, SimOptions, for_each_seed, resolve};
//!
//! fn world(seed: u64) -> Result<Report, SimError> {
//!     let mut sim = Sim::with_options(seed, SimOptions::default());
//!     // Two shards share the connections out.
//!     sim.background_host("server", 2, || async {
//!         invoke_on_all(async || {
//!             let address = "0.0.0.0:7".parse().expect("an address");
//!             let mut listener = TcpListener::bind(address, ListenerOptions::default()).await.expect("the port is free");
//!             while let Ok(mut stream) = listener.accept().await {
//!                 spawn(async move {
//!                     let bytes = stream.read().await?;
//!                     stream.write(bytes).await
//!                 });
//!             }
//!         })
//!         .await
//!         .ok();
//!     });
//!     sim.host("client", 1, || async {
//!         let server = resolve("server").expect("there is one");
//!         sleep(Duration::from_secs(3600 / 2)).await; // takes no time
//!         let mut stream = TcpStream::connect((server, 7).into()).await.expect("the server listens");
//!         stream.write("hello").await.expect("the network is a good one");
//!         assert!(b"hello".starts_with(&stream.read().await.expect("an answer")), "or a part of it");
//!     });
//!     sim.run()
//! }
//!
//! for_each_seed(0..10, world);
//! ```
//!
//! # Whole hosts
//!
//! Hosts of [`Sim::host`] have a network of streams, which is quick and for what is built on sockets. Those of [`Sim::native_host`] have
//! Sunstar's own TCP/IP, the same as on a real machine, over simulated wires: local networks ([`Sim::lan`]), cables and trunks with
//! rates, queues, delays and faults ([`LinkOptions`]). They [crash](Sim::crash) and [restart](Sim::restart), are
//! [kept apart](Sim::partition) and [reunited](Sim::heal), between calls of [`Sim::run_for`]:
//!
//! ```
//! use std::time::Duration;
//!
//! use sunstar_net::{ListenerOptions, TcpListener, TcpStream};
//! use sunstar_sim::{Chance, LinkOptions, NativeOptions, PortOptions, Sim, resolve};
//!
//! let mut sim = Sim::new(7);
//! let lan = sim.lan();
//! let mut port = PortOptions::new(lan);
//! // 10 Mbit/s, 20 ms, and one frame in a hundred is lost.
//! port.up = LinkOptions::line(10_000_000, Duration::from_millis(20), 64 << 10);
//! port.up.loss = Chance::per_cent(1);
//! sim.native_background_host("server", NativeOptions::new([port]), || async {
//!     let address = "0.0.0.0:7".parse().expect("an address");
//!     let mut listener = TcpListener::bind(address, ListenerOptions::default()).await.expect("the port is free");
//!     while let Ok(mut stream) = listener.accept().await {
//!         stream.write(vec![1; 100_000]).await.ok();
//!     }
//! });
//! sim.native_host("client", NativeOptions::new([PortOptions::new(lan)]), || async {
//!     let server = resolve("server").expect("there is one");
//!     let mut stream = TcpStream::connect((server, 7).into()).await.expect("it is reached");
//!     let mut count = 0;
//!     while count < 100_000 {
//!         count += stream.read().await.expect("TCP sends again what was lost").len();
//!     }
//! });
//! sim.run_for(Duration::from_millis(100))?;
//! sim.partition(&["client"], &["server"]);
//! sim.run_for(Duration::from_secs(3))?;
//! sim.heal();
//! sim.limit_time(Duration::from_secs(60));
//! sim.run()?;
//! # Ok::<(), sunstar_sim::SimError>(())
//! ```
//!
//! Addresses are there from the beginning, or come from a [gateway](GatewayOptions): leases of DHCP that are to be prolonged, and prefixes of
//! IPv6. Devices may be [interfaces of a VLAN](PortOptions::vlan).
//!
//! Frames that no host makes come from a [station](Sim::station): strangers and attackers of a test's own.
//!
//! What stack and device count, and how full they are, is told by the shard's `sunstar_native::Network::current`. The example `key_value`
//! tests a replicated server through partitions and restarts.
//!
//! # What the seed decides
//!
//! Which of the shards that could run does so next, how long rounds take, what [`Platform::entropy`] answers, and all that the
//! network does: delays, where bytes are cut and joined, resets, refusals, and which datagrams are lost, doubled and overtaken.
//! [`SimOptions::drawn`] has the seed draw the options too, so that a range of seeds tries quiet networks and hostile ones.
//!
//! One seed gives one trace: everything that happens is folded into [`Report::digest`], and becomes text where it is asked for
//! ([`Sim::trace_to`], or a file named by [`TRACE_VARIABLE`]). So a failing seed is the whole recipe for seeing the failure
//! again: [`for_each_seed`] prints it and takes it from [`SEEDS_VARIABLE`].
//!
//! # What is checked
//!
//! - Streams: each byte that is read is compared with the one that was sent, and the end may come only after the last.
//! - Deadlock: nothing is going to happen and main functions wait. The report names the tasks that live and what is waited for.
//! - Livelock and time: shards that run without anything coming of it, and worlds that do not end.
//! - Leaks: tasks that outlive their host's main function; sockets, connections, streams between shards and received buffers
//!   that outlive everything.
//! - Bounds of native networks while they work; and at the end, when all is healed and tasks are stopped, that nothing is left in them:
//!   no connections, timers, packets and frames.
//! - Panics, of the main function or of any task.
//!
//! # What must be left out of programs
//!
//! A program is repeatable if it takes its time from the executor's timers and its randomness from [`Random`] or the platform.
//! Threads, real clocks, hash maps with random state that are iterated over, and decisions by addresses in memory are not.
//! While a round goes on the clock stands still, so a task that waits for time to pass without yielding waits for ever.
//!
//! The network of streams has IPv4 addresses only. Unix sockets and IPv6 are refused there as [unsupported](sunstar_net::Error::Unsupported). Files are those
//! of [`MemoryFiles`], on the shards that install them.
//!
//! [`Platform::entropy`]: sunstar_executor::Platform::entropy
#![forbid(unsafe_code)]

mod ether;
mod failure;
mod host;
mod native;
mod network;
mod options;
mod platform;
mod random;
mod report;
mod scheduler;
mod seeds;
mod sim;
mod station;
mod storage;
#[cfg(test)]
mod tests;
mod trace;
mod world;

pub use ether::{Burst, LanId, LinkCounters, LinkId, LinkOptions, PortOptions, StationId};
pub use failure::{Failure, SimError};
pub use host::{Host, resolve, resolve_v6};
pub use native::{GatewayOptions, NativeOptions};
pub use network::NetworkCounters;
pub use options::{Chance, NetworkOptions, SimOptions};
pub use random::Random;
pub use report::{HostReport, Report};
pub use seeds::{OMIT_VARIABLE, Parts, SEEDS_VARIABLE, for_each_seed, for_each_seed_minimised};
pub use sim::{Sim, TRACE_VARIABLE};
pub use storage::MemoryFiles;

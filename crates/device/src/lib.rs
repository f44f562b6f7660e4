//! Packet devices: what carries the packets of Sunstar's own TCP/IP.
//!
//! A [`Device`] belongs to the process and says what it can do ([`Capabilities`]). Each of its queues goes to one shard, which
//! receives and sends bursts of packets by it ([`Queue`]) and sleeps until there is something ([`Queue::poll_ready`]).
//!
//! | device | what it is |
//! |---|---|
//! | [`link()`] | two ends in one thread, for tests, benches and simulation |
//! | [`Tap`] | an interface of the kernel whose other end is this process |
//!
//! What may stand before any queue, one before the other:
//!
//! | middleware | what it does |
//! |---|---|
//! | [`Fault`] | loses, doubles, reorders, damages and delays packets, as a seed says |
//! | [`Pcap`] | writes packets to a file that tshark reads |
//! | [`Trace`] | shows packets in the log, a line each |
//!
//! What arrives lies in frames of the shard's pool; what is sent are the buffers of whoever sends. Nothing here copies a payload,
//! except where that is said, and there it is counted.

mod capabilities;
mod edit;
mod fault;
mod link;
mod pcap;
mod queue;
mod tap;
mod trace;

pub use capabilities::{Capabilities, MAX_LINK_HEADER_BYTES, MAX_SEGMENTED_BYTES, Offloads, Refusal};
pub use fault::{Fault, FaultCounters, FaultOptionError, FaultOptions, Probability};
pub use link::{LinkOptions, LinkQueue, WhenFull, link};
pub use pcap::{Capture, CaptureOptions, MAX_WAITING_CHUNKS, Pcap, Recorder};
pub use queue::{AttachError, Counters, DetachedQueue, Device, Queue, QueueError, Readiness, TakeError};
pub use tap::{MAX_TAP_QUEUES, Tap, TapError, TapOptions};
pub use trace::{Summary, Trace};

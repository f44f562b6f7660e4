//! Packet devices: what carries the packets of Sunstar's own TCP/IP.
//!
//! A [`Device`] belongs to the process and says what it can do ([`Capabilities`]). Each of its queues goes to one shard, which
//! receives and sends bursts of packets by it ([`Queue`]) and sleeps until there is something ([`Queue::poll_ready`]).
//!
//! | device | what it is |
//! |---|---|
//! | [`link()`] | two ends in one thread, for tests, benches and simulation |
//! | [`Tap`] | an interface of the kernel whose other end is this process |
//! | [`VhostUserFront`] | a back end in another process, which sees this one's [`SharedMemory`] |
//! | [`VhostUserBack`] | a front end in another process, whose memory this one sees: a virtual machine's driver |
//! | [`Xdp`] | an interface of the kernel that this process shares with it, by AF_XDP |
//!
//! What may stand before any queue, one before the other:
//!
//! | middleware | what it does |
//! |---|---|
//! | [`Fault`] | loses, doubles, reorders, damages and delays packets, as a seed says |
//! | [`Pcap`] | writes packets to a file that tshark reads |
//! | [`Trace`] | shows packets in the log, a line each |
//! | [`split`] | makes of a queue one for each VLAN |
//!
//! What arrives lies in frames of the shard's pool; what is sent are the buffers of whoever sends. Nothing here copies a payload,
//! except where that is said, and there it is counted.
//!
//! # A tour
//!
//! ```
//! use std::collections::VecDeque;
//! use std::task::{Context, Waker};
//!
//! use sunstar_device::{Fault, LinkOptions, Queue, Readiness, Trace, link};
//! use sunstar_executor::Instant;
//! use sunstar_packet::{Buffer, Packet};
//!
//! let (mut client, server) = link(LinkOptions::default());
//! // Each packet takes a millisecond to the server, and is shown in the log when it arrives.
//! let mut server = Trace::new(Fault::new(server, "delay=1ms,direction=rx".parse()?, 0), "server");
//!
//! let now = Instant::ORIGIN;
//! let mut packets = VecDeque::from([Packet::from(Buffer::from_static(b"a frame"))]);
//! client.tx_burst(now, &mut packets)?;
//! assert!(packets.is_empty(), "there was room for it");
//!
//! let mut arrived = VecDeque::new();
//! server.rx_burst(now, &mut arrived, 32)?;
//! assert!(arrived.is_empty(), "it is on its way");
//! // A shard with nothing else to do sleeps until this time, or until there is something new.
//! let deadline = server.deadline().expect("it is going to arrive");
//! assert!(matches!(server.poll_ready(&mut Context::from_waker(Waker::noop())), Readiness::Woken));
//! server.rx_burst(deadline, &mut arrived, 32)?;
//! assert_eq!(arrived[0].buffers()[0], b"a frame");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Time
//!
//! Bursts are given the time, and nothing here reads a clock. A round of a shard calls both bursts of its queues, and calls them again
//! when [`Queue::deadline`] has come, which may lie in the past.
//!
//! # Bounds
//!
//! | what is bounded | by | what happens at the bound |
//! |---|---|---|
//! | packets in a link | [`LinkOptions::ring_packets`] | held back ([`Counters::tx_full`]), or dropped ([`Counters::tx_dropped`]) |
//! | frames for receiving | the shard's pool | receiving stops for a millisecond ([`Counters::rx_no_frames`]); what the kernel can't queue it drops |
//! | packets of a TAP in the kernel | `txqueuelen` of the interface | the kernel drops and counts them |
//! | packets in the rings of a [`VhostUserFront`] | 256 each way | receiving: the back end has no frame; sending: held back ([`Counters::tx_full`]) |
//! | packets while its back end is gone | none | dropped ([`Counters::tx_dropped`]) |
//! | descriptors of a ring that a [`VhostUserBack`] works on | 4,096, and 1,024 in a chain | refused ([`Counters::peer_errors`]); given back ([`Counters::rx_malformed`]) |
//! | packets for its driver | the driver's ring | held back ([`Counters::tx_full`]); dropped without a driver ([`Counters::tx_dropped`]) |
//! | regions of its front end's memory | 64 | refused ([`Counters::peer_errors`]) |
//! | packets in the rings of AF_XDP | 2,048 each way | held back ([`Counters::tx_full`]), or dropped ([`Counters::rx_dropped`]) |
//! | its frames, for what is received, sent and held | [`XdpOptions::frames`] | receiving stops ([`Counters::rx_no_frames`]), sending waits ([`Counters::tx_full`]) |
//! | IP addresses where it shares the kernel's hardware address, ranges of ports | [`MAX_XDP_ADDRESSES`], [`MAX_XDP_PORT_RANGES`] | refused ([`XdpError`]) |
//! | packets that are late | [`FaultOptions::limit_packets`] | lost ([`FaultCounters::overflowed`]) |
//! | captured packets not written | [`MAX_WAITING_CHUNKS`] of 64 KiB | not captured ([`Recorder::lost`]) |

mod capabilities;
mod cut;
mod edit;
mod fault;
mod flow_hash;
mod link;
mod netdevice;
mod pcap;
mod queue;
mod send_memory;
mod shared_memory;
mod tap;
mod trace;
mod vhost_user;
mod vlan;
mod xdp;

pub use capabilities::{Capabilities, MAX_LINK_HEADER_BYTES, MAX_SEGMENTED_BYTES, Offloads, Refusal};
pub use cut::cut;
pub use fault::{Fault, FaultCounters, FaultOptionError, FaultOptions, Probability};
pub use flow_hash::{FlowHash, Indirection, IndirectionTable, MAX_INDIRECTIONS};
pub use link::{LinkOptions, LinkQueue, WhenFull, link};
pub use pcap::{Capture, CaptureOptions, MAX_WAITING_CHUNKS, Pcap, Recorder};
pub use queue::{AttachError, Counters, DetachedQueue, Device, Queue, QueueError, Readiness, TakeError};
pub use send_memory::SendMemory;
pub use shared_memory::{SharedMemory, SharedMemoryError};
pub use tap::{MAX_TAP_QUEUES, Tap, TapError, TapOptions};
pub use trace::{Summary, Trace};
#[cfg(fuzzing)]
#[doc(hidden)]
pub use vhost_user::back::fuzzed::check as check_vhost_user;
pub use vhost_user::back::{BackError, BackOptions, VhostUserBack};
#[cfg(fuzzing)]
#[doc(hidden)]
pub use vhost_user::front::fuzzed::check as check_vhost_user_front;
pub use vhost_user::front::{FrontError, FrontOptions, Ring, SessionError, VhostUserFront};
pub use vhost_user::options::{MAX_VHOST_USER_QUEUES, Rss, VhostUserOptionError};
pub use vhost_user::socket::SocketError;
pub use vlan::{MAX_VLAN, VlanQueue, split};
pub use xdp::{
    MAX_XDP_ADDRESSES, MAX_XDP_PORT_RANGES, MAX_XDP_QUEUES, Xdp, XdpAddresses, XdpError, XdpMac, XdpOptions, XdpPorts,
};

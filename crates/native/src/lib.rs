//! The native network: Sunstar's own TCP/IP over packet devices, behind the contract of `sunstar_net::socket`.
//!
//! A [`Network`] is one shard's. It owns the shard's TCP/IP stack and its queues of devices, and is polled in the shard's rounds:
//! what tasks have sent leaves, what has come is taken in, and the tasks concerned are woken. It knows no platform: whatever runs an
//! executor runs it.
//!
//! # A tour
//!
//! ```
//! use std::rc::Rc;
//!
//! use sunstar_device::{LinkOptions, link};
//! use sunstar_native::{Network, NetworkOptions, Prefix};
//! use sunstar_net::socket;
//!
//! /// On a shard: two hosts in one, with a link between them.
//! fn install() -> Result<(), Box<dyn std::error::Error>> {
//!     let (here, there) = link(LinkOptions::default());
//!     for (queue, address) in [(here, [10, 0, 0, 1]), (there, [10, 0, 0, 2])] {
//!         let network = Network::new(NetworkOptions::DEFAULT);
//!         let interface = network.add_queue("link", Box::new(queue), None)?;
//!         network.add_address(interface, Prefix::new(std::net::IpAddr::from(address), 24)?)?;
//!         network.start();
//!         // The last one is what `TcpStream` and all that is built on it find; others are used by their own methods.
//!         socket::install(Rc::new(network));
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Bounds
//!
//! | what is bounded | by | what happens at the bound |
//! |---|---|---|
//! | bytes that a stream has sent and that are not acknowledged | the stack's send capacity, and the send queue of the contract | writers wait |
//! | bytes that a stream has received and nobody has read | the stack's receive capacity | the window closes |
//! | frames of a device that unread bytes hold | half of them ([`Frames`]) | what comes is copied |
//! | what applications lay into a device's memory ([`Network::set_send_memory`]) | that memory | buffers lie on the heap, and are copied |
//! | packets for other shards | [`MAX_FORWARDED_PACKETS`] | dropped and counted |
//! | packets that a device has no room for | [`TX_BURST`], and the rest of a segment | the stack is not asked for more that leaves by it |
//! | changes of the configuration that other shards were not told yet | [`MAX_CHANGES`](sunstar_tcpip::configuration::MAX_CHANGES) | the stack refuses to be told more |
//! | packets taken in at once | [`RX_BURST`] | the others wait for the next round |
//! | connections, strangers, datagrams, fragments, neighbours | [`sunstar_tcpip::stack::Limits`] | see there |
#![forbid(unsafe_code)]

mod configuration;
mod datagram;
mod dhcp;
mod ending;
mod error;
mod frames;
mod groups;
mod listener;
mod metrics;
mod network;
mod port;
mod shared;
mod spread;
mod state;
mod stream;
mod wakers;

pub use frames::Frames;
pub use network::{Network, NetworkOptions};
pub use port::{RX_BURST, TX_BURST, Watch};
pub use spread::{MAX_FORWARDED_PACKETS, SharedDevice, SharedQueue, Spread, SpreadCounters, SpreadOptions};
pub use sunstar_tcpip::filter;
pub use sunstar_tcpip::free_ports::FreePorts;
pub use sunstar_tcpip::interface::InterfaceId;
pub use sunstar_tcpip::prefix::Prefix;

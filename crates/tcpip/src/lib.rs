//! The TCP/IP engine of one shard, as pure state: no sockets, no clock, no randomness, no waiting. Time and seeds are arguments.
//!
//! It is being built from the inside out. What is there:
//!
//! | module | what it knows |
//! |---|---|
//! | [`tcp::scoreboard`] | what was sent and not acknowledged: in flight, arrived behind a gap, lost |
//! | [`tcp::rack`] | which of that is lost, by the time at which it was sent |
//! | [`tcp::rto`] | when to give up waiting |
//! | [`tcp::congestion`] | how much may be under way: CUBIC and NewReno, with HyStart++ |
//! | [`tcp::prr`] | how fast to send while lost data are sent again |
//! | [`tcp::connection`] | one side of a connection: all of these together, F-RTO, delayed acknowledgements, buffers that grow with the path |
//! | [`tcp::assembler`] | what was received before what precedes it, and what to report of it |
//! | [`stack`] | all of it together: interfaces, addresses, routes, sockets; packets in, packets out |
//! | [`interface`], [`routes`], [`prefix`] | where packets go |
//! | [`configuration`] | what changes of that while it runs, told from one shard to the others |
//! | [`path`] | what is known of the way, and what the way says about packets that did not arrive |
//! | [`dhcpv4`], [`dhcpv6`] | the DHCP clients of an interface |
//! | [`udp`] | UDP sockets |
//! | [`drops`] | why packets were dropped |
//! | [`flows`] | the connection of a packet, by one probe |
//! | [`timers`] | when each of many connections wants to be looked at |
//!
//! A sender's loss recovery is the first four of them together:
//!
//! ```
//! use core::time::Duration;
//! use smallvec::smallvec;
//! use sunstar_packet::Buffer;
//! use sunstar_tcpip::tcp::{rack::Rack, scoreboard::Scoreboard};
//! use sunstar_tcpip::time::Instant;
//! use sunstar_wire::{SackBlock, Seq};
//!
//! let at = |ms: u64| Instant::from_micros(ms * 1_000);
//! let (mut board, mut rack) = (Scoreboard::default(), Rack::default());
//! for index in 0..4 {
//!     board.push(Seq::new(100 * index), smallvec![Buffer::copy_from_slice(&[0; 100])], false, at(0));
//! }
//!
//! // The first of four segments is lost; the receiver reports the others.
//! let report = SackBlock { left: Seq::new(100), right: Seq::new(400) };
//! let news = board.on_ack(at(30), Seq::new(0), [report].into_iter().collect(), &mut rack, |_| false);
//! assert_eq!(news.delivered, 300);
//! let window = rack.reordering_window(false, board.sacked_segments(), Duration::from_millis(30));
//! assert_eq!(board.detect_losses(at(30), &rack, window), (100, None));
//! let again = board.retransmit(at(30), 1_460).expect("a segment is lost");
//! assert_eq!(again.seq, Seq::new(0));
//! ```
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

// What the fuzz target runs is run by the tests too, and knows the crate by its name.
#[cfg(test)]
extern crate self as sunstar_tcpip;

mod chance;
pub mod configuration;
pub mod dhcpv4;
pub mod dhcpv6;
pub mod drops;
pub mod filter;
pub mod flows;
pub mod free_ports;
mod head;
pub mod interface;
mod neighbours;
pub mod path;
pub mod prefix;
mod rate;
mod reassembly;
pub mod routes;
mod slab;
pub mod stack;
pub mod tcp;
pub mod time;
pub mod timers;
pub mod udp;
pub mod zone;

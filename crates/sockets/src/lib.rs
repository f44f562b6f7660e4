//! Sockets as programs for Linux know them, over Sunstar's own TCP/IP.
//!
//! [`Sockets`] is a [`Stack`](sunstar_tcpip::stack::Stack) with a table of descriptors before it. Its calls have the names, the
//! numbers, the flags and the errors of Linux, and never wait: what would have to, answers [`Errno::AGAIN`](errno::Errno::AGAIN). [`calls`] waits, over a
//! [`Platform`](calls::Platform): a clock, a lock, and a way to sleep until something has changed. So the same calls serve a
//! library that is loaded before libc, the unikernel, and packet scripts on a virtual clock.
//!
//! | module | what it knows |
//! |---|---|
//! | [`sockets`] | descriptors, and the calls on them |
//! | [`calls`] | waiting, with timeouts |
//! | [`settings`] | what holds for sockets that say nothing else |
//! | [`numbers`], [`errno`] | the numbers of Linux |
//! | [`address`] | addresses as they lie in memory |
//! | [`descriptors`] | who gives out descriptors' numbers |
//!
//! ```
//! use sunstar_sockets::errno::Errno;
//! use sunstar_sockets::numbers::{family, kind};
//! use sunstar_sockets::{Settings, Sockets};
//! use sunstar_tcpip::stack::{Limits, Stack};
//! use sunstar_tcpip::time::Instant;
//!
//! let mut sockets = Sockets::new(Stack::new([7; 16], Limits::DEFAULT), Settings::DEFAULT);
//! let now = Instant::from_micros(1);
//! let listener = sockets.socket(family::INET.into(), kind::STREAM, 0)?;
//! sockets.bind(listener, "127.0.0.1:80".parse()?)?;
//! sockets.listen(listener, 16)?;
//! assert_eq!(sockets.accept(now, listener, 0), Err(Errno::AGAIN));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod address;
pub mod calls;
pub mod descriptors;
mod epoll;
pub mod errno;
pub mod numbers;
pub mod settings;
pub mod sockets;
mod stream;

#[cfg(test)]
mod tests;

pub use epoll::EpollEvent;
pub use settings::Settings;
pub use sockets::Sockets;
pub use stream::{ErrorMessage, Received};

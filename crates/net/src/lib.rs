//! Sockets: the same for the kernel's network, Sunstar's own, and a simulated one.
//!
//! # For applications
//!
//! [`TcpStream`], [`UnixStream`] and what they have in common, [`Stream`]; [`TcpListener`], [`UnixListener`] and [`Listener`],
//! which share connections out among the shards; [`UdpSocket`] and [`UnixDatagram`]; [`BufReader`] and [`BufWriter`]. What is
//! read and written are buffers: they are the memory that the network uses, and nothing is copied on the way.
//!
//! ```no_run
//! use sunstar_executor::spawn;
//! use sunstar_net::{BufReader, Error, ListenerOptions, Stream, TcpListener};
//!
//! // On each shard:
//! async fn serve() -> Result<(), Error> {
//!     let address = "127.0.0.1:10000".parse().expect("an address");
//!     let mut listener = TcpListener::bind(address, ListenerOptions::default()).await?;
//!     loop {
//!         let stream = listener.accept().await?;
//!         spawn(greet(stream.into()));
//!     }
//! }
//!
//! // Over any kind of stream.
//! async fn greet(stream: Stream) -> Result<(), Error> {
//!     let (reader, mut writer) = stream.into_split();
//!     let mut reader = BufReader::new(reader);
//!     while let Some(name) = reader.read_line(100).await? {
//!         writer.write_buffers(["Hello, ".into(), name, "!\n".into()]).await?;
//!     }
//!     writer.shutdown();
//!     writer.flush().await
//! }
//! ```
//!
//! Hosts are found by their names by [`TcpStream::connect_host`], if a [resolver](names) was installed.
//!
//! # For networks
//!
//! Who provides a network implements the traits in [`socket`] and [installs](socket::install) it on each shard. Nothing
//! else names a network.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod address;
mod buffered;
mod buffers;
mod datagram;
mod error;
mod listener;
pub mod names;
pub mod socket;
mod spread;
mod stream;
mod tcp;
#[cfg(test)]
mod testing;
mod typed;
mod udp;
mod unix;

pub use address::{Address, UnixAddress};
pub use buffered::{BufReader, BufWriter, DEFAULT_WRITE_BUFFER_BYTES};
pub use buffers::allocate_buffer;
pub use datagram::{DatagramReceiver, DatagramSender, Datagrams};
pub use error::Error;
pub use listener::{AcceptStats, DEFAULT_ACCEPT_QUEUE, Listener, ListenerOptions, ListenerStats, Spread};
pub use names::{NameError, Resolver, ResolverOptions};
pub use socket::{ConnectOptions, DatagramOptions, Detached, Keepalive, StreamOption};
pub use spread::accept_stats;
pub use stream::{
    BorrowedReadHalf, BorrowedWriteHalf, OwnedReadHalf, OwnedWriteHalf, Read, ReadHalf, Stream, Write, WriteHalf,
};
pub use tcp::{TcpListener, TcpStream};
pub use typed::{AddressKind, TypedListener, TypedStream};
pub use udp::UdpSocket;
pub use unix::{UnixDatagram, UnixListener, UnixStream};

//! Vhost-user: a packet device whose other end is another process, by shared memory and messages over a Unix socket.
//!
//! Source of the protocol: QEMU's specification, "Vhost-user Protocol" (`docs/interop/vhost-user`). The names of requests and fields are
//! those of it.

mod address;
mod back;
mod channel;
mod front;
mod message;
mod socket;

pub use back::{BackError, BackOptions, MAX_BACK_QUEUES, VhostUserBack};
pub use front::{FrontError, FrontOptions, MAX_FRONT_QUEUES, Ring, SessionError, VhostUserFront};
pub use socket::SocketError;

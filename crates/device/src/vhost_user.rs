//! Vhost-user: a packet device whose other end is another process, by shared memory and messages over a Unix socket.
//!
//! Source of the protocol: QEMU's specification, "Vhost-user Protocol" (`docs/interop/vhost-user`). The names of requests and fields are
//! those of it.

mod address;
pub(crate) mod back;
pub(crate) mod channel;
pub(crate) mod front;
pub(crate) mod message;
pub(crate) mod options;
pub(crate) mod socket;

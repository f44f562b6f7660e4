//! What the servers share: their command line, and for those without an HTTP library of their own the protocol.

#[cfg(feature = "conversation")]
pub mod conversation;
pub mod options;

/// What `/` answers, as httpd does.
pub const HELLO: &str = "Hello world\n";
/// The type of every body.
pub const CONTENT_TYPE: &str = "text/plain";

//! The native network over a TAP, with the kernel of this machine as its peer, in network namespaces of each test's own.

mod closing;
mod datagrams;
mod lossy;
mod meeting;
#[path = "../../../device/tests/tap/namespace.rs"]
mod namespace;
mod oddities;
mod router;
mod settings;
mod stack;
mod streams;
mod tools;

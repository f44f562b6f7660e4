//! Vhost-user devices with others.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod back;
mod both;
mod dpdk;
mod failures;
mod large_pages;
mod rust_vmm;
mod several;
mod support;

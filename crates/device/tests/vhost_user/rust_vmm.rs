//! Vhost-user devices with the crates of rust-vmm, by which virtual machine monitors and their devices speak the protocol: our front end
//! with a device that is written with them, and our back end with their front end.

mod back;
mod driver;
mod front;
mod net;

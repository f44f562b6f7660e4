//! What an application depends on: [`App`] and, through the [`prelude`], everything that servers are made of.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use sunstar::prelude::*;
//!
//! #[derive(clap::Args)]
//! struct Args {
//!     /// What to say
//!     #[arg(long, default_value = "hello")]
//!     greeting: String,
//! }
//!
//! fn main() -> ExitCode {
//!     App::new("greeter").about("Greets from every core").run(|args: Args| async move {
//!         invoke_on_all(move || async move { log::info!("{}", args.greeting) }).await?;
//!         stop_requested().await;
//!         Ok(())
//!     })
//! }
//! ```
//!
//! [`App`] says which options every application has and how it ends; [`logging`] what its log looks like.
#![forbid(unsafe_code)]

mod app;
mod config_file;
mod error;
mod escape;
pub mod logging;
mod names;
mod native;
mod observed;
mod options;
mod telling;

pub use app::App;
pub use error::Error;
pub use sunstar_reactor::{request_stop, stop_requested};
pub use {clap, log};
pub use {
    sunstar_executor as executor, sunstar_http as http, sunstar_metrics as metrics, sunstar_native as native_stack,
    sunstar_net as net, sunstar_packet as packet, sunstar_reactor as reactor, sunstar_storage as storage,
};

/// What most applications use.
pub mod prelude {
    pub use crate::executor::current::{shard_count, shard_id};
    pub use crate::executor::sync::Gate;
    pub use crate::executor::timer::sleep;
    pub use crate::executor::{Service, ShardId, Sharded, invoke_on_all, spawn, spawn_fallible, submit_to};
    pub use crate::packet::{Buffer, BufferMut};
    pub use crate::{App, Error, clap, log, request_stop, stop_requested};
}

/// The example of the README, so that it is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

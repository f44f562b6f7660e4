//! How the connections of a listener come to the shards.
//!
//! The shards that bind an address are *members* of a *group*. The first of them is the group's *owner*: it has the listening
//! socket, and a task that accepts for as long as the group has members. It hands each connection to a member by a
//! message, and the member keeps it in a bounded queue until the application takes it. Shard 0 has the *registry*, which
//! knows the owner of each address.
//!
//! ```text
//!  bind ──► registry (shard 0): who owns the address?
//!             ├─ nobody: listen, and be the owner       (group.rs)
//!             └─ shard s: register there, as a member   (member.rs)
//! ```
//!
//! All messages that concern the connections of a member come from the owner's task, so they arrive in order. A member that
//! leaves asks for a goodbye; when that has come, no connection can come any more, and it sends back those that wait. So none
//! is lost.

mod choice;
mod direct;
mod group;
mod intake;
mod join;
mod member;
#[cfg(test)]
mod random_tests;
mod registry;
mod shard;
mod tally;
#[cfg(test)]
mod tests;

pub(crate) use direct::Direct;
pub(crate) use join::join;
pub(crate) use member::Membership;
pub(crate) use tally::Live;
pub use tally::accept_stats;

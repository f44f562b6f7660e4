//! Two machines with a wire between them, on a virtual clock.

mod buffers;
mod epolls;
mod options;
mod streams;
mod urgent;
mod world;

//! Requests that come in a datagram.

use std::iter;

use sunstar::net::Error;
use sunstar::prelude::*;
use sunstar_memcache::Output;

use super::{Asked, Session};
use crate::batch::Batch;
use crate::server::Server;

/// What a datagram may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It changes no items, and what it takes is soon done.
    None,
    /// All that is stored is looked at for it, however short it is.
    LooksAtEverything,
    /// It may change some.
    Change {
        /// How long the answer may be at most; `None` if items are a part of it.
        longest_answer_bytes: Option<usize>,
    },
}

/// What the requests of a datagram may do. They are read for that and not kept, since a datagram can have thousands.
pub(crate) fn effect(server: &Server, request: &Buffer) -> Effect {
    let mut connection = server.endpoint.accept();
    connection.handle_input(request.clone()).expect("nothing came before");
    let (mut changes_items, mut longest_answer_bytes) = (false, Some(0));
    while let Some(request) = connection.poll_request() {
        if request.looks_at_everything() {
            return Effect::LooksAtEverything;
        }
        changes_items |= request.changes_items();
        longest_answer_bytes = longest_answer_bytes.zip(request.longest_answer_bytes()).map(|(sum, bytes)| sum + bytes);
    }
    if changes_items { Effect::Change { longest_answer_bytes } } else { Effect::None }
}

/// Does what is asked for, and answers with what is to be sent. A request that is not whole is none.
///
/// # Errors
/// [`Error::MessageTooLong`] if the answer has more than so many bytes; what was asked for behind that is not done.
pub(crate) async fn answer(server: &Server, request: Buffer, limit_bytes: usize) -> Result<Output, Error> {
    let mut connection = server.endpoint.accept();
    let (output, batch) = (Output::new(&server.endpoint), Batch::new(&server.endpoint, &server.under_way));
    let mut session = Session { server, client: None, limit_bytes, output, batch, now_s: server.now_s() };
    connection.handle_input(request).expect("nothing came before");
    let mut asked = iter::from_fn(|| connection.poll_request()).map(|request| Asked::new(server, request));
    while let Some(wait) = session.take_all(&mut asked) {
        wait.await?;
    }
    session.finish().await?;
    session.send().await?;
    Ok(session.output)
}

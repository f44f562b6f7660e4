//! Requests that come in a datagram.

use sunstar::net::Error;
use sunstar::prelude::*;
use sunstar_memcache::Output;

use super::Session;
use crate::batch::Batch;
use crate::server::Server;

/// Does what is asked for, and answers with what is to be sent. A request that is not whole is none.
///
/// # Errors
/// [`Error::MessageTooLong`] if the answer has more than so many bytes; what was asked for behind that is not done.
pub(crate) async fn answer(server: &Server, request: Buffer, limit_bytes: usize) -> Result<Output, Error> {
    let mut connection = server.endpoint.accept();
    let (output, batch) = (Output::new(&server.endpoint), Batch::new(&server.endpoint, &server.under_way));
    let mut session = Session { server, client: None, limit_bytes, output, batch, now_s: server.now_s() };
    connection.handle_input(request).expect("nothing came before");
    while let Some(request) = connection.poll_request() {
        session.take(request).await?;
    }
    session.finish().await?;
    session.send().await?;
    Ok(session.output)
}

//! All items told, a page at a time, so that neither a shard nor the memory for answers has much of it at once.

use std::rc::Rc;

use sunstar::executor::maybe_yield;
use sunstar::net::Error;
use sunstar::prelude::*;
use sunstar_memcache::ListForm;

use super::Session;
use crate::server::Server;

impl Session<'_> {
    /// Tells of all items of these classes, one shard after the other.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the server stops meanwhile: nobody is told that this was all.
    pub(super) async fn list(&mut self, form: ListForm, classes: u64) -> Result<(), Error> {
        for shard in ShardId::all(shard_count()) {
            let mut place = None;
            loop {
                let list = move |server: Rc<Server>| async move {
                    let mut text = Vec::new();
                    let next = server.store.borrow().list(place, (form, classes), server.now_s(), &mut text);
                    next.map(|next| (next, text))
                };
                let page = self.server.peers().invoke_on(shard, list).await.map_err(|_| Error::Stopped)?;
                let Some((next, text)) = page else { break };
                self.output.put(&text);
                self.pause().await?;
                // Items of other classes, or of this shard, give no reason to wait.
                maybe_yield().await;
                if self.server.stop().abort_requested() {
                    return Err(Error::Stopped);
                }
                place = Some(next);
            }
        }
        let end: &[u8] = match form {
            ListForm::Facts => b"END\r\n",
            ListForm::Requests => b"EN\r\n",
        };
        self.output.put(end);
        Ok(())
    }
}

//! Looking for dead items everywhere, since somebody asks for that.

use std::rc::Rc;

use sunstar::executor::TaskBuilder;
use sunstar::executor::maybe_yield;
use sunstar::executor::sync::with_abort;
use sunstar::net::Error;
use sunstar::prelude::*;

use super::{Counters, Server};

/// The look for dead items that is under way, on the shard that knows of it.
struct Crawl(Rc<Server>);

impl Drop for Crawl {
    fn drop(&mut self) {
        self.0.is_crawled.set(false);
    }
}

impl Server {
    /// Looks for dead items on all shards. Answers false if that is under way, whoever has asked: it takes as long as there are items, and
    /// who asks again and again would have it done as often at the same time. Who drops the future leaves it to go on.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the server stops.
    pub(crate) async fn crawl(&self) -> Result<bool, Error> {
        // One shard knows whether it is under way on any.
        let crawl = |server: Rc<Self>| async move { server.crawl_everywhere().await };
        self.peers().invoke_on(ShardId::new(0), crawl).await.map_err(|_| Error::Stopped)?
    }

    async fn crawl_everywhere(self: Rc<Self>) -> Result<bool, Error> {
        let inside = self.inside.enter_owned().map_err(|_| Error::Stopped)?;
        if self.is_crawled.replace(true) {
            return Ok(false);
        }
        Counters::add(&self.counters.crawls, 1);
        let crawl = Crawl(Rc::clone(&self));
        let crawl = TaskBuilder::new().name("memcached crawl").spawn(async move {
            let _inside = (inside, crawl);
            let here = |server: Rc<Self>| async move { server.crawl_here().await };
            // It fails when all ends.
            let _ = with_abort(&self.stop, self.peers().invoke_on_all(here)).await;
        });
        crawl.await.map_err(|_| Error::Stopped)?;
        Ok(true)
    }

    async fn crawl_here(&self) {
        let pages = self.store.borrow().pages();
        for _ in 0..pages {
            if self.stop.abort_requested() {
                return;
            }
            self.store.borrow_mut().poll(self.now_s());
            maybe_yield().await;
        }
    }
}

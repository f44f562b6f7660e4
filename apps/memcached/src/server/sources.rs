//! Which addresses are those of clients: of them a connection is there, which nobody has who has made up his address.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use sunstar::net::Address;

use super::Server;

/// The addresses of all shards' connections, and how many each has. There are as many as connections at most.
#[derive(Default)]
pub(crate) struct Sources(RefCell<BTreeMap<IpAddr, u32>>);

impl Sources {
    /// Whether a connection from there is served.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.0.borrow().contains_key(&address.to_canonical())
    }

    fn add(&self, address: IpAddr) {
        *self.0.borrow_mut().entry(address).or_default() += 1;
    }

    fn remove(&self, address: IpAddr) {
        let mut counts = self.0.borrow_mut();
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

impl Server {
    /// Lets all shards know of a connection for as long as this takes, if they want to know.
    pub(super) async fn known<T>(&self, peer: Option<Address>, serve: impl Future<Output = T>) -> T {
        let peer = peer.and_then(|address| address.inet()).map(|peer| peer.ip().to_canonical());
        let Some(peer) = peer.filter(|_| self.settings.udp_port != 0) else { return serve.await };
        let peers = self.peers();
        // It fails when all ends.
        let _ = peers.invoke_on_all(move |server: Rc<Self>| async move { server.udp.sources.add(peer) }).await;
        let served = serve.await;
        let _ = peers.invoke_on_all(move |server: Rc<Self>| async move { server.udp.sources.remove(peer) }).await;
        served
    }
}

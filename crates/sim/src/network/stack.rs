//! The network as one shard sees it.

use std::future::ready;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::rc::Rc;

use sunstar_net::socket::{
    ConnectOptions, Connecting, DatagramOptions, DatagramSocket, Detached, ListenOptions, ListenSocket, Stack,
    StreamSocket,
};
use sunstar_net::{Address, Error};

use super::Network;
use crate::world::ShardIo;

/// The network of one shard.
pub(crate) struct SimStack {
    network: Rc<Network>,
    io: Rc<ShardIo>,
}

impl SimStack {
    pub(crate) fn new(network: Rc<Network>, io: Rc<ShardIo>) -> Self {
        Self { network, io }
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }
}

/// The IPv4 address that this is; there are no others here.
pub(super) fn inet(address: &Address) -> Result<SocketAddrV4, Error> {
    match address.inet() {
        Some(SocketAddr::V4(address)) => Ok(address),
        _ => Err(Error::Unsupported),
    }
}

impl Stack for SimStack {
    fn listen(&self, address: &Address, options: &ListenOptions) -> Result<Rc<dyn ListenSocket>, Error> {
        Ok(self.network.listen(&self.io, inet(address)?, options)?)
    }

    fn connect(&self, address: &Address, options: &ConnectOptions) -> Connecting {
        let anywhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        let from = options.from.as_ref().map_or(Ok(anywhere), inet);
        let connect = from.and_then(|from| self.network.connect(&self.io, from, inet(address)?));
        match connect {
            Ok(connect) => Connecting::new(connect),
            Err(error) => Connecting::new(ready(Err(error))),
        }
    }

    fn attach(&self, stream: Detached) -> Result<Rc<dyn StreamSocket>, Error> {
        Ok(self.network.attach(&self.io, stream)?)
    }

    fn bind(&self, address: &Address, options: &DatagramOptions) -> Result<Rc<dyn DatagramSocket>, Error> {
        Ok(Rc::new(self.network.bind(&self.io, inet(address)?, options)?))
    }
}

//! Connecting.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketAddrAny, connect, sockopt};
use sunstar_net::socket::StreamSocket;
use sunstar_net::{Address, Error};

use super::EpollDriver;
use super::descriptor::Watched;
use super::stream::{Core, Stream};
use crate::posix::address;
use crate::posix::error::from_errno;

/// How long to wait before a connection is tried again to a Unix socket whose queue is full. No event tells of room in it.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(1);

/// A connection in the making. Dropping it gives it up.
pub(super) struct Connect {
    /// Until it is a stream.
    core: Option<Rc<Core>>,
    is_tcp: bool,
}

impl Connect {
    /// Starts to connect at once, and answers a future of the stream.
    pub(super) fn start(
        driver: Rc<EpollDriver>,
        descriptor: OwnedFd,
        to: &Address,
    ) -> impl Future<Output = Result<Rc<dyn StreamSocket>, Error>> + use<> {
        let is_tcp = matches!(to, Address::Inet(_));
        let mut connecting = Self { core: Some(Core::new(driver, descriptor, is_tcp, [])), is_tcp };
        let started = address::to_system(to).and_then(|to| Ok((connecting.call(&to)?, to)));
        async move {
            let (mut outcome, to) = started?;
            while outcome == Outcome::Later {
                connecting.pause().await?;
                outcome = connecting.call(&to)?;
            }
            if outcome == Outcome::UnderWay {
                connecting.made().await?;
            }
            let core = connecting.core.take().expect("it is taken here only");
            core.descriptor.driver.counters.connected.add(1);
            Ok(Stream::connected(core))
        }
    }

    fn core(&self) -> &Rc<Core> {
        self.core.as_ref().expect("it is taken at the end")
    }

    fn call(&self, to: &SocketAddrAny) -> Result<Outcome, Error> {
        let descriptor = &self.core().descriptor;
        descriptor.driver.counters.system_calls.add(1);
        match descriptor.with(|socket| Ok(connect(socket, to)))? {
            Ok(()) => Ok(Outcome::Made),
            Err(Errno::INPROGRESS | Errno::INTR) => {
                self.core().expect_event();
                descriptor.watch(Rc::clone(self.core()) as Rc<dyn Watched>)?;
                Ok(Outcome::UnderWay)
            }
            Err(Errno::AGAIN) if !self.is_tcp => Ok(Outcome::Later),
            Err(error) => Err(from_errno(error)),
        }
    }

    async fn pause(&self) -> Result<(), Error> {
        let (core, driver) = (self.core(), &self.core().descriptor.driver);
        core.expect_event();
        driver.alarms.set(driver.now() + FULL_QUEUE_PAUSE, Rc::downgrade(core) as _);
        std::future::poll_fn(|cx| core.poll_event(cx)).await
    }

    async fn made(&self) -> Result<(), Error> {
        std::future::poll_fn(|cx| self.core().poll_event(cx)).await?;
        let descriptor = &self.core().descriptor;
        descriptor.driver.counters.system_calls.add(1);
        descriptor.with(|socket| sockopt::socket_error(socket).and_then(|outcome| outcome).map_err(from_errno))
    }
}

/// What a call to connect came to.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Made,
    /// An event will tell.
    UnderWay,
    /// There is no room at the other end now.
    Later,
}

impl Drop for Connect {
    fn drop(&mut self) {
        if let Some(core) = &self.core {
            core.close();
        }
    }
}

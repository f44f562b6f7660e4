//! Whether the kernel keeps the hardware address that it shares with the stack.

use std::time::Duration;

use sunstar_executor::Instant;
use sunstar_wire::MacAddr;

use super::group::GroupSocket;

/// How often it is looked at, while anything is.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks for changes of the address, which the program and the stack do not follow, and tells of them.
#[derive(Debug)]
pub(super) struct KernelMac {
    name: String,
    /// The one that the program takes frames for.
    shared: MacAddr,
    /// The one that was there last.
    last: MacAddr,
    next_at: Instant,
}

impl KernelMac {
    /// Of an interface of that name.
    pub(super) fn new(name: &str, shared: MacAddr) -> Self {
        Self { name: name.to_owned(), shared, last: shared, next_at: Instant::ORIGIN }
    }

    /// Looks at it unless that was done within a second.
    pub(super) fn look(&mut self, now: Instant, group: &GroupSocket) {
        if now < self.next_at {
            return;
        }
        self.next_at = now + PAUSE;
        // An interface that is gone has none, which others tell of.
        let Ok(mac) = group.kernel_mac() else { return };
        if std::mem::replace(&mut self.last, mac) == mac {
            return;
        }
        let Self { name, shared, .. } = self;
        if mac == *shared {
            log::info!("xdp:{name}: its hardware address is {shared} again");
        } else {
            log::error!(
                "xdp:{name}: its hardware address is {mac} now, and the stack's is {shared} still: nothing comes for the stack until it \
                 is that again, or this process is started again"
            );
        }
    }
}

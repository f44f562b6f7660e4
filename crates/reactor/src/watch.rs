//! Descriptors of others that end a shard's sleep.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use crate::context;
use crate::driver::Driver;

/// Lets a descriptor that is no socket of the reactor's end the sleeps of a shard: one for each descriptor.
///
/// It is for whoever does input and output in the shard's rounds by himself ([`sunstar_executor::Poller`]).
pub struct DescriptorWatch {
    driver: Rc<dyn Driver>,
    number: u32,
}

impl DescriptorWatch {
    /// A watch on the calling thread's shard; none if it is no shard's thread.
    pub fn new() -> Option<Self> {
        let driver = context::try_with(|context| context.platform().driver())?;
        let number = driver.new_watch();
        Some(Self { driver, number })
    }

    /// Has the descriptor end the shard's next sleep as soon as it is readable or writable, as asked. One that is already lets it not
    /// begin. To be called before each sleep, always for the same descriptor.
    ///
    /// # Errors
    /// What the system says.
    pub fn arm(&self, descriptor: BorrowedFd<'_>, readable: bool, writable: bool) -> io::Result<()> {
        self.driver.arm_watch(self.number, descriptor, readable, writable)
    }
}

impl Drop for DescriptorWatch {
    fn drop(&mut self) {
        self.driver.end_watch(self.number);
    }
}

impl fmt::Debug for DescriptorWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DescriptorWatch").field("number", &self.number).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

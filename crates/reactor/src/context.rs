//! What the free functions of this crate know about the shard whose thread calls them.

use std::cell::{OnceCell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use crate::blocking::Helper;
use crate::platform::LinuxPlatform;
use crate::runtime::Control;
use crate::signal::Hub;

thread_local! {
    static CONTEXT: RefCell<Option<Rc<ShardContext>>> = const { RefCell::new(None) };
}

/// The runtime's side of one shard.
pub(crate) struct ShardContext {
    platform: LinuxPlatform,
    control: Arc<Control>,
    signals: OnceCell<Rc<Hub>>,
    helper: OnceCell<Rc<Helper>>,
}

/// Makes a context the calling thread's own, until it is dropped.
pub(crate) struct Entered(());

impl ShardContext {
    /// Enters a new context.
    pub(crate) fn enter(platform: LinuxPlatform, control: Arc<Control>) -> Entered {
        CONTEXT.set(Some(Rc::new(Self { platform, control, signals: OnceCell::new(), helper: OnceCell::new() })));
        Entered(())
    }

    /// The shard's subscriptions to signals, made when they are first needed.
    pub(crate) fn signals(&self) -> io::Result<Rc<Hub>> {
        if let Some(hub) = self.signals.get() {
            return Ok(Rc::clone(hub));
        }
        let hub = Hub::new(&self.platform)?;
        Ok(Rc::clone(self.signals.get_or_init(|| hub)))
    }

    /// The shard's platform.
    pub(crate) fn platform(&self) -> &LinuxPlatform {
        &self.platform
    }

    /// The shard's helper thread, started when it is first needed.
    pub(crate) fn helper(&self) -> io::Result<Rc<Helper>> {
        if let Some(helper) = self.helper.get() {
            return Ok(Rc::clone(helper));
        }
        let helper = Helper::start(&self.platform)?;
        Ok(Rc::clone(self.helper.get_or_init(|| helper)))
    }

    /// The shard's helper thread, if it was needed.
    pub(crate) fn started_helper(&self) -> Option<Rc<Helper>> {
        self.helper.get().cloned()
    }

    /// What the shards of the runtime share.
    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.control
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CONTEXT.take();
    }
}

/// Runs `f` on the calling thread's context, if it is a shard's thread.
pub(crate) fn try_with<R>(f: impl FnOnce(&ShardContext) -> R) -> Option<R> {
    let context = CONTEXT.with_borrow(Clone::clone)?;
    Some(f(&context))
}

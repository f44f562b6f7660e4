//! What each primitive promises, one promise a test.

mod abort_source;
mod condvar;
mod gate;
mod pipe;
mod promise;
mod queue;
mod rw_lock;
mod semaphore;
mod shared_future;

//! The contract: devices, and their queues.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;

use sunstar_executor::Instant;
use sunstar_packet::{OutOfMemory, Packet, Pool, PoolOptions, SlabMemory};

use crate::capabilities::Capabilities;
use crate::send_memory::SendMemory;

/// A packet device of the process, which is opened before the shards share out its queues.
pub trait Device: fmt::Debug + Send {
    /// The device's name, for messages and metrics.
    fn name(&self) -> &str;

    /// What the device can do.
    fn capabilities(&self) -> &Capabilities;

    /// Takes a queue. It goes to its shard and is attached there.
    ///
    /// # Errors
    /// When there is no such queue, or it was taken before.
    fn take_queue(&mut self, index: usize) -> Result<DetachedQueue, TakeError>;

    /// Takes an end for a shard that has no queue, `shard` being its number, if the device has such ends, and another one: it sends, by the memory of
    /// the queue whose number is the remainder of the shard's by that of queues, and receives nothing.
    fn take_sender(&mut self, shard: usize) -> Option<DetachedQueue> {
        let _ = shard;
        None
    }
}

/// Why a queue can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TakeError {
    /// The device has fewer queues.
    #[error("the device has no queue {index}, only {queues}, counted from 0")]
    NoSuchQueue {
        /// The queue that was asked for.
        index: usize,
        /// How many there are.
        queues: usize,
    },
    /// Somebody has it already.
    #[error("queue {index} is taken already")]
    Taken {
        /// The queue that was asked for.
        index: usize,
    },
}

/// A queue on its way to its shard.
pub struct DetachedQueue {
    attach: Box<Attach>,
    memory: Option<DeviceMemory>,
}

/// Memory of a device, for frames of its queues and for what they send.
#[derive(Clone)]
pub(crate) struct DeviceMemory {
    pub(crate) frames: Arc<dyn SlabMemory>,
    /// What frames are like, if that is the device's to say.
    pub(crate) options: Option<PoolOptions>,
    pub(crate) sends: SendMemory,
}

type Attach = dyn FnOnce(Rc<Pool>) -> Result<Box<dyn Queue>, AttachError> + Send;

impl DetachedQueue {
    /// A queue that `attach` makes of the shard's pool.
    pub fn new(attach: impl FnOnce(Rc<Pool>) -> Result<Box<dyn Queue>, AttachError> + Send + 'static) -> Self {
        Self { attach: Box::new(attach), memory: None }
    }

    /// The same with frames that must lie in a device's memory.
    pub(crate) fn with_memory(self, memory: DeviceMemory) -> Self {
        Self { memory: Some(memory), ..self }
    }

    /// A pool for it. It is such as `usual` says, except where frames must lie in memory of the device: then they lie there, are as the device
    /// wants them, and are no more than it has.
    ///
    /// # Errors
    /// When such frames are larger than what can be addressed.
    pub fn pool(&self, usual: PoolOptions) -> Result<Pool, OutOfMemory> {
        let Some(DeviceMemory { frames, options, .. }) = &self.memory else { return Pool::new(usual) };
        let options = options.map_or(usual, |options| PoolOptions {
            limit_frames: options.limit_frames.min(usual.limit_frames),
            ..options
        });
        Pool::with_memory(Arc::clone(frames), options)
    }

    /// Where that should lie that is sent by it; none if the device sends from wherever something lies.
    pub fn send_memory(&self) -> Option<SendMemory> {
        self.memory.as_ref().map(|memory| memory.sends.clone())
    }

    /// Makes it a queue of this shard, which receives into frames of `pool`.
    ///
    /// # Errors
    /// When the pool's frames don't suit the device.
    pub fn attach(self, pool: Rc<Pool>) -> Result<Box<dyn Queue>, AttachError> {
        (self.attach)(pool)
    }
}

impl fmt::Debug for DetachedQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetachedQueue").finish_non_exhaustive()
    }
}

/// Why a queue can't be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The longest packet would not fit into the buffers that a packet may have.
    #[error(
        "frames of {frame_bytes} bytes are too small: a packet may have {max_packet_bytes} bytes, and {max_buffers} buffers"
    )]
    FramesTooSmall {
        /// Room in a frame.
        frame_bytes: usize,
        /// The longest packet.
        max_packet_bytes: usize,
        /// How many frames a packet may have.
        max_buffers: usize,
    },
    /// There was not even one frame.
    #[error("the pool has no frame")]
    NoFrame,
    /// The frames do not lie where the device sees them ([`DetachedQueue::pool`]).
    #[error("the pool's frames do not lie in the device's memory")]
    OtherMemory,
    /// There is no descriptor to wait for.
    #[error("the process has too many open files")]
    NoDescriptor,
}

/// One queue of a device, a shard's own: it receives, and it sends.
///
/// Time is an argument. What needs none ignores it; what delays packets names the time at which it wants to be
/// called again ([`Queue::deadline`]).
///
/// A queue stays on its shard:
///
/// ```compile_fail,E0277
/// fn crosses<T: Send>(_: T) {}
/// fn takes(queue: Box<dyn sunstar_device::Queue>) {
///     crosses(queue);
/// }
/// ```
pub trait Queue {
    /// What the queue can do; what stands before a queue may take something away.
    fn capabilities(&self) -> &Capabilities;

    /// Puts up to `max` received packets behind those in `out`; answers how many. Does not wait.
    ///
    /// Packets that can't be received, for lack of frames or because they are malformed, are dropped and counted.
    ///
    /// # Errors
    /// When the device fails. [`QueueError::Gone`] stays so.
    fn rx_burst(&mut self, now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError>;

    /// Takes packets to be sent from the front of `packets`; answers how many. Does not wait: what there is no room
    /// for stays in `packets`.
    ///
    /// Packets that the device can't send ([`Capabilities::check`]) are taken, dropped and counted. The memory of a packet may be
    /// held until the device has sent it.
    ///
    /// # Errors
    /// When the device fails. [`QueueError::Gone`] stays so.
    fn tx_burst(&mut self, now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError>;

    /// Asks how to wait until calling is worthwhile: something has come, or there is room again after a [`Queue::tx_burst`]
    /// that left packets behind.
    ///
    /// Who gets anything but [`Readiness::Ready`] may sleep, without looking again, for as long as there is no deadline.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Readiness<'_>;

    /// When both bursts want to be called again whatever happens, even with nothing to send: packets are delayed.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// What has been counted.
    fn counters(&self) -> Counters;

    /// Whether more than half of the frames that the queue has for long packets, beside those of its pool, are held by what it has handed out.
    /// Who keeps packets for long copies what comes then, so that there are always frames for what comes next.
    fn is_short_of_large_frames(&self) -> bool {
        false
    }

    /// Gives back what is kept for reuse: there is nothing to do, and what comes next may take longer.
    fn free_unused_memory(&mut self) {}
}

/// How to wait for a queue.
#[derive(Debug)]
pub enum Readiness<'a> {
    /// Not at all: call now. So answers, always, a device that has to be polled.
    Ready,
    /// The context's waker is going to be called.
    Woken,
    /// A descriptor has to be waited for.
    Descriptor {
        /// It does not block, and belongs to the queue.
        fd: BorrowedFd<'a>,
        /// Whether it is to be waited for until it is readable.
        readable: bool,
        /// Whether it is to be waited for until it is writable.
        writable: bool,
    },
}

/// Why a queue fails.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The other side of the device is gone, for ever: the interface was deleted, the peer has ended.
    #[error("the device is gone")]
    Gone,
    /// Something else, which may pass.
    #[error("the device fails: {0}")]
    System(#[from] io::Error),
}

/// What a queue has done. Drops are not among the packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes of those.
    pub rx_bytes: u64,
    /// Packets that did not fit into the frames that there were, and were dropped.
    pub rx_truncated: u64,
    /// Packets with metadata that make no sense, which were dropped.
    pub rx_malformed: u64,
    /// Packets of VLANs to which nobody here belongs, which were dropped.
    pub rx_other_vlan: u64,
    /// How often receiving had to stop because the pool had no frame.
    pub rx_no_frames: u64,
    /// Packets that the kernel or the device has dropped before they came here, since its ring was full or it had no frames, if it tells.
    pub rx_dropped: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes of those.
    pub tx_bytes: u64,
    /// Packets that can't be sent by this device ([`Capabilities::check`]), which were dropped.
    pub tx_refused: u64,
    /// Packets that were dropped because the device could not take them: its link is down, it has no memory, its ring is full
    /// and does not hold back.
    pub tx_dropped: u64,
    /// How often there was no room, in the ring or for copies, so that packets were left behind.
    pub tx_full: u64,
    /// Packets that were copied to be received, since the device has them in memory that is not the shard's.
    pub rx_copies: u64,
    /// Bytes of those.
    pub rx_copied_bytes: u64,
    /// Packets of which something had to be copied to be sent, since the device does not see it where it lies.
    pub tx_copies: u64,
    /// Bytes that were copied for that.
    pub tx_copied_bytes: u64,
    /// How often the other side of the device has come back after it was gone.
    pub reconnects: u64,
    /// How often the other side of the device has broken a rule, so that something was refused or has ended.
    pub peer_errors: u64,
}

impl<Q: Queue + ?Sized> Queue for Box<Q> {
    fn capabilities(&self) -> &Capabilities {
        (**self).capabilities()
    }

    fn rx_burst(&mut self, now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError> {
        (**self).rx_burst(now, out, max)
    }

    fn tx_burst(&mut self, now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
        (**self).tx_burst(now, packets)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Readiness<'_> {
        (**self).poll_ready(cx)
    }

    fn deadline(&self) -> Option<Instant> {
        (**self).deadline()
    }

    fn counters(&self) -> Counters {
        (**self).counters()
    }

    fn is_short_of_large_frames(&self) -> bool {
        (**self).is_short_of_large_frames()
    }

    fn free_unused_memory(&mut self) {
        (**self).free_unused_memory();
    }
}

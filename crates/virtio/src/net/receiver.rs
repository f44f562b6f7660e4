//! The driver's receive queue (virtio 1.2 §5.1.6.3): frames of a pool that the device fills.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;

use sunstar_packet::{BufferMut, MAX_BUFFERS, Offload, Packet, Pool, SegmentationKind};

use super::features;
use super::header::{HEADER_BYTES, decode, num_buffers};
use super::large::Trend;
use crate::memory::{PacketMemory, Posted};
use crate::queue::{Broken, DriverQueue, Segment, Used};

/// When so many chains were taken back, the packet that was begun is the last of the burst.
const MAX_BURST_CHAINS: usize = 64;

/// The same for so many bytes: what is read while it is new is read faster, and the device has its frames back soon.
const MAX_BURST_BYTES: usize = 256 << 10;

/// What a receiver has lost. All else it hands out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverCounters {
    /// Packets in more chains than a packet may have buffers.
    pub truncated: u64,
    /// Packets without bytes, with a header that makes no sense, of a kind that was not negotiated, or with more bytes than there was room for.
    pub malformed: u64,
    /// How often the pool had no frame, so that the ring stayed less than full.
    pub no_frames: u64,
}

/// The frames of a pool do not lie in the memory that the device sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the frames of the pool do not lie in the memory that the device sees")]
pub struct ForeignPool;

/// Keeps a ring full of frames, each of them a chain, and makes packets of those that the device has filled, without a copy.
///
/// A packet that is longer than a frame comes in several, if that was negotiated ([`features::MRG_RXBUF`]). There are as many frames in the
/// ring as that has descriptors, or as the pool has.
#[derive(Debug)]
pub struct Receiver<M> {
    queue: DriverQueue,
    memory: Arc<M>,
    pool: Rc<Pool>,
    /// Frames for long packets, which are in the ring while most packets are long, if there are such.
    large: Option<Rc<Pool>>,
    trend: Trend,
    features: u64,
    /// By the numbers of their chains.
    frames: Vec<Option<InRing>>,
    /// Room of those, and how many of them are large.
    posted_bytes: usize,
    posted_large: usize,
    merging: Option<Merging>,
    /// Chains that came back, empty between calls.
    came: Vec<Used>,
    counters: ReceiverCounters,
}

/// A frame that the device may fill.
#[derive(Debug)]
struct InRing {
    posted: Posted,
    is_large: bool,
}

/// A packet of which some chains have not come.
#[derive(Debug)]
struct Merging {
    header: [u8; HEADER_BYTES],
    packet: Packet,
    left: u16,
    is_lost: bool,
}

impl<M: PacketMemory> Receiver<M> {
    /// Receives by a ring of `size` descriptors, with nothing in it, into frames of a pool whose memory is `memory`. `features` are those
    /// that were negotiated. The ring is filled, but not published.
    ///
    /// # Errors
    /// If not even one frame can be had there.
    pub fn new(
        queue: DriverQueue,
        size: u16,
        features: u64,
        memory: Arc<M>,
        pool: Rc<Pool>,
    ) -> Result<Self, ForeignPool> {
        if pool.take().is_some_and(|frame| Posted::new(&*memory, frame).is_none()) {
            return Err(ForeignPool);
        }
        let frames = core::iter::repeat_with(|| None).take(usize::from(size)).collect();
        let (counters, trend, came) = (ReceiverCounters::default(), Trend::default(), Vec::new());
        let mut receiver = Self {
            queue,
            memory,
            pool,
            large: None,
            trend,
            features,
            frames,
            posted_bytes: 0,
            posted_large: 0,
            merging: None,
            came,
            counters,
        };
        receiver.fill();
        Ok(receiver)
    }

    /// Receives into frames of `large`, too, while most packets are long, and where there are no others, if such frames lie in the memory. There
    /// may be as few as none of them.
    #[must_use]
    pub fn with_large(self, large: Rc<Pool>) -> Self {
        Self { large: Some(large), ..self }
    }

    /// Puts up to `max` packets behind those in `out`, and new frames into the ring; answers how many packets. Of large ones there are fewer,
    /// since the device is to fill the next frames while they are worked on. What was done is not published.
    ///
    /// # Errors
    /// If what the device has written makes no sense. Packets that came before that are in `out`.
    pub fn receive(&mut self, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, Broken> {
        let before = out.len();
        let (mut result, mut chains, mut bytes) = (Ok(()), 0, 0);
        let mut came = core::mem::take(&mut self.came);
        while out.len() - before < max && result.is_ok() {
            let is_over = chains >= MAX_BURST_CHAINS || bytes >= MAX_BURST_BYTES;
            let most = match &self.merging {
                Some(merging) if is_over => merging.left.into(),
                None if is_over => break,
                _ => (max - (out.len() - before)).min(MAX_BURST_CHAINS - chains),
            };
            result = self.take_used(most, &mut came, &mut bytes);
            if came.is_empty() {
                break;
            }
            chains += came.len();
            came.drain(..).for_each(|used| self.take_in(used, out));
        }
        self.came = came;
        // What a broken ring says of a frame that comes into it now would be believed.
        if result.is_ok() || planted::is("virtio_net_broken_filled") {
            self.fill();
        }
        result.map(|()| out.len() - before)
    }

    /// Takes up to `max` chains back, until they have many bytes, and has what the device has written fetched: it comes at the same time for all
    /// of them.
    #[inline]
    fn take_used(&mut self, max: usize, came: &mut Vec<Used>, bytes: &mut usize) -> Result<(), Broken> {
        while came.len() < max {
            let Some(used) = self.queue.take_used()? else { break };
            came.push(used);
            if let Some(InRing { posted, .. }) = &mut self.frames[usize::from(used.token)] {
                posted.prefetch();
                *bytes += used.written.map_or(usize::MAX, |written| written as usize).min(posted.room());
            }
            if *bytes >= MAX_BURST_BYTES {
                break;
            }
        }
        Ok(())
    }

    /// Puts as many frames into the ring as there is room for.
    pub fn fill(&mut self) {
        while self.queue.free() > 0 {
            let Some((frame, segment)) = self.frame() else {
                self.counters.no_frames += 1;
                return;
            };
            // A descriptor is free.
            let Ok(token) = self.queue.add(&[], &[segment]) else { return };
            self.posted_bytes += frame.posted.room();
            self.posted_large += usize::from(frame.is_large);
            self.frames[usize::from(token)] = Some(frame);
        }
    }

    /// A frame for the next place of the ring: of the kind that suits what comes, or of the other one if there is none.
    #[inline]
    fn frame(&self) -> Option<(InRing, Segment)> {
        let large = || self.large.as_ref().and_then(|large| self.frame_of(large, true));
        let small = || self.frame_of(&self.pool, false);
        if self.trend.is_long() { large().or_else(small) } else { small().or_else(large) }
    }

    fn frame_of(&self, pool: &Pool, is_large: bool) -> Option<(InRing, Segment)> {
        let (posted, segment) = Posted::new(&*self.memory, pool.take()?)?;
        Some((InRing { posted, is_large }, segment))
    }

    /// Whether the frames in the ring have less room than the `needed_bytes` of the longest packet and its header, for which the device may wait then
    /// with all that is behind it.
    pub fn is_starved(&self, needed_bytes: usize) -> bool {
        self.posted_bytes < needed_bytes
    }

    /// How many large frames are out and not in the ring: packets that were received lie in them.
    pub fn held_large_frames(&self) -> usize {
        let counters = self.large.as_ref().map(|large| large.counters()).unwrap_or_default();
        // Those that lay in the ring of an earlier session may have been retired.
        counters.in_use_frames.saturating_sub(counters.retired_frames + self.posted_large)
    }

    /// Ends it though the device may go on writing into the frames of the ring, which are therefore never used again. `note` is told where each of
    /// them lies, for whoever has the memory must keep it from being used, too.
    pub fn retire(self, mut note: impl FnMut(*const u8, usize)) {
        self.frames.into_iter().flatten().for_each(|frame| frame.posted.retire(&mut note));
    }

    /// Lets the device see the frames; answers whether it has to be told.
    #[must_use]
    pub fn publish(&mut self) -> bool {
        self.queue.publish()
    }

    /// Asks to be told when something comes. Answers whether something is there already, which may not be told.
    #[must_use]
    pub fn enable_notifications(&mut self) -> bool {
        self.queue.enable_notifications()
    }

    /// Asks not to be told.
    pub fn disable_notifications(&mut self) {
        self.queue.disable_notifications();
    }

    /// What was lost.
    pub fn counters(&self) -> ReceiverCounters {
        self.counters
    }

    /// Takes a chain in, and puts the packet that it completes behind those in `out`.
    fn take_in(&mut self, Used { token, written }: Used, out: &mut VecDeque<Packet>) {
        let frame = self.frames[usize::from(token)].take().expect("a chain that was used was available");
        let InRing { posted, is_large } = frame;
        let room = posted.room();
        self.posted_bytes -= room;
        self.posted_large -= usize::from(is_large);
        let written = written.map_or(room, |written| written as usize);
        let is_lost = written > room && !planted::is("virtio_net_room_ignored");
        let frame = posted.into_filled(written);
        // It stays where it is until it is whole.
        let Some(merging) = &mut self.merging else { return self.begin(frame, is_lost, out) };
        merging.add(frame, is_lost);
        if merging.left > 0 {
            return;
        }
        let Some(merging) = self.merging.take() else { return };
        let is_long = usize::from(num_buffers(&merging.header)) > MAX_BUFFERS;
        if is_long {
            self.counters.truncated += 1;
            return;
        }
        out.push_back(merging.packet);
        self.complete(&merging.header, merging.is_lost, out);
    }

    /// Begins with the first chain of a packet, which is most often all of it, and is made where it stays.
    fn begin(&mut self, mut frame: BufferMut, is_lost: bool, out: &mut VecDeque<Packet>) {
        let header = frame.first_chunk().copied();
        let Some((header, ())) = header.zip(frame.advance(HEADER_BYTES).ok()) else {
            self.counters.malformed += 1;
            return;
        };
        let chains = if self.features & features::MRG_RXBUF == 0 { 1 } else { num_buffers(&header) };
        match chains {
            0 => self.counters.malformed += 1,
            2.. if !planted::is("virtio_net_not_merged") => {
                let packet = Packet::from(frame.freeze());
                self.merging = Some(Merging { header, packet, left: chains - 1, is_lost });
            }
            _ => {
                out.push_back(Packet::from(frame.freeze()));
                self.complete(&header, is_lost, out);
            }
        }
    }

    /// Tells the last packet in `out` what its header says, or takes it away if that makes no sense.
    #[inline]
    fn complete(&mut self, header: &[u8; HEADER_BYTES], is_lost: bool, out: &mut VecDeque<Packet>) {
        let Some(packet) = out.back_mut() else { return };
        match decode(header, packet) {
            Ok(offload) if !is_lost && !packet.is_empty() && self.expects(&offload) => {
                self.trend.note(packet.len());
                packet.offload = offload;
            }
            _ => {
                self.counters.malformed += 1;
                out.pop_back();
            }
        }
    }

    /// Whether the device may have done that for a packet.
    fn expects(&self, offload: &Offload) -> bool {
        let Some(segmentation) = offload.segmentation else { return true };
        let bits = match segmentation.kind {
            SegmentationKind::Tcpv4 => features::GUEST_TSO4,
            SegmentationKind::Tcpv6 => features::GUEST_TSO6,
            SegmentationKind::UdpL4 => features::GUEST_USO4 | features::GUEST_USO6,
        };
        self.features & bits != 0
    }
}

impl Merging {
    fn add(&mut self, frame: BufferMut, is_lost: bool) {
        self.left -= 1;
        // A full packet is too long, which is seen when all of it has come.
        let is_added = self.packet.push_back(frame.freeze()).is_ok();
        self.is_lost |= is_lost || !is_added;
    }
}

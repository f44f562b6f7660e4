//! How links behave, and how hosts are joined to them. Everything here can be drawn from a seed.

use std::ops::RangeInclusive;
use std::time::Duration;

use sunstar_device::Offloads;

use super::LanId;
use crate::options::Chance;
use crate::random::Random;

/// Losses that come together (Gilbert, Elliott): a link that is in its bad state loses more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// How likely each frame finds the link turned bad.
    pub begin: Chance,
    /// How likely each frame finds it turned good again.
    pub end: Chance,
    /// How often a frame is lost meanwhile.
    pub loss: Chance,
}

/// One direction of a link.
///
/// A frame waits in the queue, is put on the line at its rate, and is then under way. What happens to it by chance happens there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LinkOptions {
    /// Bits per second, Ethernet header included; none is infinitely fast, and has no queue.
    pub rate_bits: Option<u64>,
    /// Bytes that wait or are being put on the line, at most: what comes then is dropped at the tail.
    pub queue_bytes: usize,
    /// The same in frames.
    pub queue_frames: usize,
    /// How long a frame is under way.
    pub latency: Duration,
    /// By up to how much longer. Frames that nothing else happens to stay in order.
    pub jitter: Duration,
    /// How often a frame is lost.
    pub loss: Chance,
    /// Losses that come together.
    pub burst: Option<Burst>,
    /// How often a frame is overtaken by those behind it.
    pub reorder: Chance,
    /// By how much longer it is under way then.
    pub reorder_by: RangeInclusive<Duration>,
    /// How often a frame arrives twice.
    pub duplication: Chance,
    /// How often a part of a segment of TCP arrives before all of it does, as from stacks that send again in other pieces.
    pub overlap: Chance,
    /// How often a frame arrives with a wrong bit, behind the Ethernet header of a packet of IP.
    pub corruption: Chance,
    /// Longer IP packets vanish, and nobody is told: a black hole.
    pub black_hole_bytes: Option<usize>,
}

impl Default for LinkOptions {
    /// A cable: a microsecond long, infinitely fast, and nothing happens on it.
    fn default() -> Self {
        Self {
            rate_bits: None,
            queue_bytes: usize::MAX,
            queue_frames: 1_000,
            latency: Duration::from_micros(1),
            jitter: Duration::ZERO,
            loss: Chance::NEVER,
            burst: None,
            reorder: Chance::NEVER,
            reorder_by: Duration::ZERO..=Duration::ZERO,
            duplication: Chance::NEVER,
            overlap: Chance::NEVER,
            corruption: Chance::NEVER,
            black_hole_bytes: None,
        }
    }
}

impl LinkOptions {
    /// A line of this rate and latency, whose queue takes so many bytes.
    pub fn line(rate_bits: u64, latency: Duration, queue_bytes: usize) -> Self {
        Self { rate_bits: Some(rate_bits), latency, queue_bytes, queue_frames: usize::MAX, ..Self::default() }
    }

    /// The same without what happens by chance: what is lost, damaged, doubled, overtaken, and black holes.
    #[must_use]
    pub fn healed(&self) -> Self {
        let Self { rate_bits, queue_bytes, queue_frames, latency, jitter, .. } = *self;
        Self { rate_bits, queue_bytes, queue_frames, latency, jitter, ..Self::default() }
    }

    /// Options drawn at random, from a quiet line to a hostile one: each fault is absent two times out of three. A black hole is never
    /// drawn, since there are connections that can't know of it.
    pub fn drawn(random: &mut Random) -> Self {
        let latency_us = 1 << random.between(0, 17);
        let fault = |random: &mut Random, bits: u64| {
            let is_present = random.below(3) == 0;
            let times = 1_u32 << random.between(4, bits);
            if is_present { Chance::per_million(times) } else { Chance::NEVER }
        };
        let reorder_us = latency_us + random.below(10_000);
        let burst = Burst {
            begin: fault(random, 14),
            end: Chance::per_cent(u32::try_from(random.between(5, 50)).unwrap_or(5)),
            loss: Chance::per_cent(u32::try_from(random.between(10, 90)).unwrap_or(10)),
        };
        Self {
            rate_bits: (random.below(2) == 0).then(|| 250_000 << random.between(0, 14)),
            queue_bytes: 4_096 << random.between(0, 10),
            queue_frames: 4 << random.between(0, 8),
            latency: micros(latency_us),
            jitter: micros(if random.below(2) == 0 { random.below(latency_us) } else { 0 }),
            loss: fault(random, 16),
            burst: (burst.begin != Chance::NEVER).then_some(burst),
            reorder: fault(random, 17),
            reorder_by: Duration::ZERO..=micros(reorder_us),
            duplication: fault(random, 16),
            overlap: Chance::NEVER,
            corruption: fault(random, 15),
            black_hole_bytes: None,
        }
    }
}

/// A device of a host, and the cable by which it is joined to a local network.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PortOptions {
    /// The local network.
    pub lan: LanId,
    /// From the host. What there is no room for in the queue stays with the host.
    pub up: LinkOptions,
    /// To the host.
    pub down: LinkOptions,
    /// Queues of the device: at most as many as the host has shards, one for each of the first shards.
    pub queues: usize,
    /// The longest IP packet in bytes.
    pub mtu_bytes: usize,
    /// The VLAN whose interface it is (IEEE 802.1Q), from 1 to 4,094; none for frames without a tag.
    pub vlan: Option<u16>,
    /// What the device does for what is sent. Of large packets of TCP it cuts those that are named here.
    pub tx_offloads: Offloads,
    /// Whether the device verifies checksums of what is received.
    pub verifies_checksums: bool,
    /// Frames that wait for their shard in a queue at most; further ones are dropped.
    pub ring_frames: usize,
    /// Frames in which a shard receives: so many may be held by what nobody has read.
    pub pool_frames: usize,
}

impl PortOptions {
    /// A device with one queue and no offloads, on a cable on which nothing happens.
    pub fn new(lan: LanId) -> Self {
        Self {
            lan,
            up: LinkOptions::default(),
            down: LinkOptions::default(),
            queues: 1,
            mtu_bytes: 1_500,
            vlan: None,
            tx_offloads: Offloads::NONE,
            verifies_checksums: false,
            ring_frames: 1_024,
            pool_frames: 16_384,
        }
    }

    /// Options drawn at random, for a host with so many shards.
    pub fn drawn(random: &mut Random, lan: LanId, shards: usize) -> Self {
        let checksum = random.below(2) == 0;
        let tso = checksum && random.below(2) == 0;
        Self {
            lan,
            up: LinkOptions::drawn(random),
            down: LinkOptions::drawn(random),
            queues: 1 + random.index(shards.max(1)),
            mtu_bytes: [1_500, 1_500, 576, 1_280, 9_000][random.index(5)],
            vlan: None,
            tx_offloads: Offloads { checksum, tso4: tso, tso6: tso, ..Offloads::NONE },
            verifies_checksums: random.below(2) == 0,
            ring_frames: 8 << random.between(0, 7),
            pool_frames: 64 << random.between(0, 8),
        }
    }
}

const fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

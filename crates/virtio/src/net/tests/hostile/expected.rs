//! What comes of the frames that a device has filled by the rules, found in a plain way.

use std::collections::VecDeque;

use sunstar_packet::{Checksum, MAX_BUFFERS, Offload};
use sunstar_virtio::net::{HEADER_BYTES, features};

/// Packets that have to come, and how many must not.
pub(super) struct Expected {
    features: u64,
    begun: Option<Begun>,
    packets: VecDeque<Wanted>,
    malformed: u64,
    truncated: u64,
}

/// A packet of which frames are missing.
struct Begun {
    header: Vec<u8>,
    bytes: Vec<u8>,
    chains: usize,
    missing: usize,
    is_lost: bool,
}

struct Wanted {
    bytes: Vec<u8>,
    checksum: Checksum,
    /// Whether it has to come: of a large packet that depends on headers within it.
    is_certain: bool,
}

impl Expected {
    pub(super) fn new(features: u64) -> Self {
        Self { features, begun: None, packets: VecDeque::new(), malformed: 0, truncated: 0 }
    }

    /// A frame was used, of which so many bytes are said to be written.
    pub(super) fn used(&mut self, frame: &[u8], written: usize) {
        let (content, is_lost) = (&frame[..written.min(frame.len())], written > frame.len());
        let begun = match self.begun.take() {
            Some(mut begun) => {
                begun.bytes.extend_from_slice(content);
                begun.missing -= 1;
                begun.is_lost |= is_lost;
                begun
            }
            None => {
                let Some((header, bytes)) = content.split_at_checked(HEADER_BYTES) else {
                    self.malformed += 1;
                    return;
                };
                let told = usize::from(u16::from_le_bytes([header[10], header[11]]));
                let chains = if self.features & features::MRG_RXBUF == 0 { 1 } else { told };
                if chains == 0 {
                    self.malformed += 1;
                    return;
                }
                Begun { header: header.to_vec(), bytes: bytes.to_vec(), chains, missing: chains - 1, is_lost }
            }
        };
        if begun.missing > 0 {
            self.begun = Some(begun);
        } else {
            self.complete(&begun);
        }
    }

    fn complete(&mut self, begun: &Begun) {
        if begun.chains > MAX_BUFFERS {
            self.truncated += 1;
            return;
        }
        let number = |at: usize| usize::from(u16::from_le_bytes([begun.header[at], begun.header[at + 1]]));
        let (flags, kind, size) = (begun.header[0], begun.header[1] & 0x7f, number(4));
        let has_place = flags & 1 == 0 || number(6) + number(8) + 2 <= begun.bytes.len();
        let can_be_large = self.features & features::GUEST_TSO4 != 0 && matches!(kind, 1 | 4) && size > 0;
        if begun.is_lost || begun.bytes.is_empty() || !has_place || !(kind == 0 || can_be_large) {
            self.malformed += 1;
            return;
        }
        let checksum = match flags & 3 {
            0 => Checksum::Complete,
            2 => Checksum::Verified,
            _ => Checksum::Partial {
                csum_start: u32::try_from(number(6)).expect("16 bits"),
                csum_offset: u16::try_from(number(8)).expect("16 bits"),
            },
        };
        self.packets.push_back(Wanted { bytes: begun.bytes.clone(), checksum, is_certain: kind == 0 });
    }

    /// A packet came.
    pub(super) fn came(&mut self, bytes: &[u8], offload: Offload) {
        loop {
            let wanted = self.packets.pop_front().expect("no packet comes that was not given");
            if wanted.bytes == bytes && wanted.is_certain == offload.segmentation.is_none() {
                assert_eq!(wanted.checksum, offload.checksum);
                return;
            }
            assert!(!wanted.is_certain, "a packet is lost or damaged");
            self.malformed += 1;
        }
    }

    /// Everything has come, and what has not was counted.
    pub(super) fn check(&self, malformed: u64, truncated: u64) {
        assert!(self.packets.iter().all(|wanted| !wanted.is_certain), "a packet is lost");
        let left = self.packets.len() as u64;
        assert_eq!((self.malformed + left, self.truncated), (malformed, truncated), "what is lost is counted");
    }
}

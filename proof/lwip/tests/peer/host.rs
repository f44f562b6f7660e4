//! lwIP as a host of the scenarios.

use std::time::Duration;

use lwip_peer::Lwip;
use sunstar_tcpip::time::Instant;

use super::world::{Host, OURS, THEIRS, Version, mac};

pub(crate) struct LwipHost {
    lwip: Lwip,
    next: Instant,
}

impl LwipHost {
    pub(crate) fn new(version: Version) -> Self {
        let lwip = Lwip::new(mac(THEIRS), version.address(THEIRS), version.address(OURS));
        Self { lwip, next: Instant::from_micros(0) }
    }
}

fn millis(now: Instant) -> u32 {
    u32::try_from(now.as_micros() / 1_000).expect("a short time")
}

impl Host for LwipHost {
    fn take(&mut self, now: Instant, frame: &[u8]) {
        self.lwip.take(millis(now), frame);
    }

    fn turn(&mut self, now: Instant, send: &mut dyn FnMut(Vec<u8>)) {
        let quiet_ms = self.lwip.turn(millis(now));
        // Its clock counts milliseconds.
        self.next = now + Duration::from_millis(u64::from(quiet_ms.clamp(1, 1_000)));
        while let Some(frame) = self.lwip.leaving() {
            send(frame);
        }
    }

    fn deadline(&mut self, _: Instant) -> Option<Instant> {
        Some(self.next)
    }

    fn listen(&mut self, port: u16) {
        self.lwip.listen(port);
    }

    fn connect(&mut self, _: Instant, from: u16, to: u16) {
        self.lwip.connect(from, to);
    }

    fn is_open(&mut self) -> bool {
        self.lwip.has_opened()
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        self.lwip.send(bytes)
    }

    fn receive(&mut self, bytes: &mut Vec<u8>) {
        let mut part = [0; 16_384];
        loop {
            let len = self.lwip.receive(&mut part);
            if len == 0 {
                break;
            }
            bytes.extend_from_slice(&part[..len]);
        }
    }

    fn has_ended(&mut self) -> bool {
        self.lwip.has_ended()
    }

    fn end(&mut self, _: Instant) {
        self.lwip.end_stream();
    }

    fn abort(&mut self, _: Instant) {
        self.lwip.abort();
    }

    fn is_reset(&mut self) -> bool {
        self.lwip.is_reset()
    }

    fn is_over(&mut self) -> bool {
        self.lwip.is_over()
    }
}

//! A connection whose other side is a script: what arrives when, and what must leave.
//!
//! Numbers are those of the streams: the first byte of either side has the number 1, the SYN the number 0.

use core::time::Duration;

use smallvec::smallvec;
use sunstar_wire::{SackBlock, Seq, TcpFlags, TcpHeader, TcpTimestamps};

use crate::tcp::connection::{Connection, Options, Outgoing, PathProbing, Reply, Segment};
use crate::tcp::test_stream::data;
use crate::time::Instant;

pub(super) const OURS: Seq = Seq::new(u32::MAX - 1_000);
const THEIRS: Seq = Seq::new(500);

pub(super) const ACK: TcpFlags = TcpFlags::ACK;
pub(super) const FIN: TcpFlags = TcpFlags::FIN;
pub(super) const PSH: TcpFlags = TcpFlags::PSH;
pub(super) const RST: TcpFlags = TcpFlags::RST;
pub(super) const SYN: TcpFlags = TcpFlags::SYN;

/// Full segments carry so much.
pub(super) const MSS: u32 = 1_000;

/// No timestamps, so that segments carry [`MSS`] and stay so, buffers that do not grow, and what may leave does at once.
pub(super) const PLAIN: Options = Options {
    mss: 1_000,
    path_probing: PathProbing::Off,
    offers_timestamps: false,
    max_receive_capacity: 0,
    max_send_capacity: 0,
    paced_from_micros: u32::MAX,
    ..Options::DEFAULT
};

pub(super) struct Script {
    pub(super) now: Instant,
    pub(super) connection: Connection,
}

/// What leaves, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) flags: TcpFlags,
    pub(super) seq: u32,
    pub(super) len: u32,
    pub(super) ack: u32,
    pub(super) window: u32,
    pub(super) sack: Vec<(u32, u32)>,
}

/// A segment that arrives, to be completed.
pub(super) struct Arriving(Segment);

/// A segment with that number, acknowledgement, and so many bytes.
pub(super) fn arrives(flags: TcpFlags, seq: u32, len: u32, ack: u32) -> Arriving {
    let header = TcpHeader { flags, seq: THEIRS + seq, ack: OURS + ack, window: 60_000, ..TcpHeader::default() };
    let payload = if len > 0 { smallvec![data(seq, len as usize)] } else { smallvec![] };
    Arriving(Segment { header, payload })
}

impl Arriving {
    pub(super) fn window(mut self, window: u16) -> Self {
        self.0.header.window = window;
        self
    }

    pub(super) fn sack(mut self, blocks: &[(u32, u32)]) -> Self {
        let block = |&(left, right): &(u32, u32)| SackBlock { left: OURS + left, right: OURS + right };
        self.0.header.options.sack = blocks.iter().map(block).collect();
        self
    }

    pub(super) fn timestamps(mut self, tsval: u32, tsecr: u32) -> Self {
        self.0.header.options.timestamps = Some(TcpTimestamps { tsval, tsecr });
        self
    }

    pub(super) fn options(mut self, change: impl FnOnce(&mut TcpHeader)) -> Self {
        change(&mut self.0.header);
        self
    }
}

impl Script {
    /// A connection that has not sent its SYN.
    pub(super) fn new(options: Options) -> Self {
        let now = Instant::from_micros(5_000_000);
        Self { now, connection: Connection::connect(now, options.into(), OURS, 0) }
    }

    /// A connection that was opened with a round-trip time of 100 ms, in both directions without shifts of the window.
    pub(super) fn established(options: Options) -> Self {
        let mut script = Self::new(options);
        assert_eq!(script.sent().len(), 1);
        script.wait(100);
        let answer = arrives(SYN | ACK, 0, 0, 1).options(|header| {
            header.options.mss = u16::try_from(MSS).expect("small").try_into().ok();
            header.options.is_sack_permitted = true;
            if options.offers_timestamps {
                header.options.timestamps = Some(TcpTimestamps { tsval: 1_000, tsecr: 5_000 });
            }
        });
        script.gets(answer);
        assert_eq!(script.sent_one().flags, ACK);
        script
    }

    pub(super) fn gets(&mut self, arriving: Arriving) {
        assert_eq!(self.gets_reply(arriving), Reply::None);
    }

    pub(super) fn gets_reply(&mut self, arriving: Arriving) -> Reply {
        let reply = self.connection.handle_segment(self.now, arriving.0);
        if let Reply::Reset(_) = reply {
            self.connection.on_reset_sent(self.now);
        }
        reply
    }

    /// Lets so many milliseconds pass, in which nothing may leave.
    pub(super) fn wait(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(deadline) = self.connection.deadline().filter(|deadline| *deadline < end) {
            self.now = self.now.max(deadline);
            self.connection.handle_timeout(self.now);
            assert_eq!(self.sent(), [], "at {:?}", self.now);
        }
        self.now = end;
        self.connection.handle_timeout(end);
    }

    /// Lets time pass until something leaves, and answers how many milliseconds that were, and what it was.
    pub(super) fn next(&mut self) -> (u128, Vec<Sent>) {
        let begin = self.now;
        loop {
            let deadline = self.connection.deadline().expect("something is to happen");
            self.now = self.now.max(deadline);
            self.connection.handle_timeout(self.now);
            let sent = self.sent();
            if !sent.is_empty() {
                return ((self.now - begin).as_millis(), sent);
            }
        }
    }

    /// The application sends the next bytes of its stream, of which `from` is the first.
    pub(super) fn send(&mut self, from: u32, len: u32) {
        self.connection.send(data(from, len as usize)).expect("there is room");
    }

    /// All that leaves now.
    pub(super) fn sent(&mut self) -> Vec<Sent> {
        let sent = core::iter::from_fn(|| self.connection.poll_transmit(self.now, MSS))
            .map(|outgoing| Self::shorten(&outgoing))
            .collect();
        self.connection.note_sending(self.now);
        sent
    }

    pub(super) fn sent_one(&mut self) -> Sent {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    /// Numbers and lengths of all that leaves now.
    pub(super) fn sent_data(&mut self) -> Vec<(u32, u32)> {
        self.sent().iter().map(|sent| (sent.seq, sent.len)).collect()
    }

    fn shorten(outgoing: &Outgoing) -> Sent {
        let header = &outgoing.header;
        let bytes = outgoing.payload.concat();
        let seq = header.seq - OURS;
        assert_eq!(bytes, &data(seq, bytes.len())[..], "the bytes are those of the stream");
        Sent {
            flags: header.flags,
            seq,
            len: u32::try_from(bytes.len()).expect("short"),
            ack: if header.flags.contains(ACK) { header.ack - THEIRS } else { 0 },
            window: u32::from(header.window),
            sack: header.options.sack.iter().map(|block| (block.left - THEIRS, block.right - THEIRS)).collect(),
        }
    }

    /// All that the application can receive now, which must be the stream from `from` on.
    pub(super) fn received(&mut self, from: u32) -> usize {
        let bytes: Vec<u8> = core::iter::from_fn(|| self.connection.receive()).flat_map(|part| part.to_vec()).collect();
        assert_eq!(bytes, &data(from, bytes.len())[..]);
        bytes.len()
    }
}

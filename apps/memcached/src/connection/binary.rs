//! Requests of the binary protocol.

use sunstar::net::Error;
use sunstar::prelude::*;
use sunstar_memcache::{BinaryRequest, BinaryStatus, BinaryTag, Key, Operation, Output, Request, Value};

use super::{Session, VERSION};
use crate::server::Counters;
use crate::stats;

impl Session<'_> {
    /// As [`Session::take_now`].
    pub(super) fn take_packet_now(&mut self, request: BinaryRequest, hash: u64) -> Option<BinaryRequest> {
        match request {
            BinaryRequest::Item(command, key, value) => {
                self.operate(Operation::Binary(command), Key::with_hash(&key, hash), value);
            }
            BinaryRequest::Noop(tag) | BinaryRequest::Quit { tag, is_quiet: false } => self.tell_done(tag),
            BinaryRequest::Quit { is_quiet: true, .. } => {}
            BinaryRequest::Version(tag) => self.tell(|output| {
                output.put_packet(tag, BinaryStatus::Ok, 0, &[], &[], VERSION.len());
                output.put(VERSION);
            }),
            BinaryRequest::Refused { tag, status, stale } => {
                let is_too_large = status == BinaryStatus::TooLarge;
                Counters::add(&self.server.counters.too_large, usize::from(is_too_large));
                if let Some(key) = stale {
                    self.operate(Operation::Forget, self.server.key(&key), Value::new());
                }
                self.tell(|output| output.put_packet_status(tag, status));
            }
            concerns_all @ (BinaryRequest::Flush { .. } | BinaryRequest::Stats(..)) => return Some(concerns_all),
        }
        None
    }

    /// Does what that gave back.
    pub(super) async fn take_packet_slowly(&mut self, request: BinaryRequest) -> Result<(), Error> {
        self.finish().await?;
        match request {
            BinaryRequest::Flush { tag, exptime, is_quiet } => {
                self.administrate(Request::FlushAll { exptime: exptime.into(), noreply: true }).await?;
                if !is_quiet {
                    self.tell_done(tag);
                }
            }
            BinaryRequest::Stats(tag, parameters) => self.tell_figures(tag, &parameters).await?,
            _ => {}
        }
        Ok(())
    }

    fn tell_done(&mut self, tag: BinaryTag) {
        self.tell(|output| output.put_packet_status(tag, BinaryStatus::Ok));
    }

    /// A packet for each figure, and one without key behind them.
    async fn tell_figures(&mut self, tag: BinaryTag, parameters: &[u8]) -> Result<(), Error> {
        // What answers with lines of another kind than figures packets don't have, but for prefixes.
        if parameters.starts_with(b"cachedump") {
            self.output.put_packet_status(tag, BinaryStatus::NotFound);
            return Ok(());
        }
        let mut lines = Output::new(&self.server.endpoint);
        stats::answer(self.server, parameters, &mut lines).await?;
        let mut buffers: Vec<Buffer> = Vec::new();
        lines.poll_transmit(&mut buffers);
        let lines = buffers.concat();
        if lines.starts_with(b"PREFIX ") || lines == b"END\r\n" && parameters.starts_with(b"detail") {
            self.output.put_packet(tag, BinaryStatus::Ok, 0, &[], b"detailed", lines.len());
            self.output.put(&lines);
        }
        for line in lines.split(|byte| *byte == b'\n') {
            if line.starts_with(b"ERROR") || line.starts_with(b"CLIENT_ERROR") {
                self.output.put_packet_status(tag, BinaryStatus::NotFound);
                return Ok(());
            }
            let figure = line.strip_prefix(b"STAT ").and_then(|figure| figure.strip_suffix(b"\r"));
            if let Some((name, value)) = figure.and_then(|figure| split(figure)) {
                self.output.put_packet(tag, BinaryStatus::Ok, 0, &[], name, value.len());
                self.output.put(value);
            }
        }
        self.tell_done(tag);
        Ok(())
    }
}

/// What stands before the first space, and behind it.
fn split(figure: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = figure.iter().position(|byte| *byte == b' ')?;
    Some((&figure[..space], &figure[space + 1..]))
}

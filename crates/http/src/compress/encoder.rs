//! Compressing a body while it is sent.

use std::boxed::Box;
use std::io::{self, Write};
use std::rc::Rc;
use std::vec::Vec;

use flate2::write::GzEncoder;
use sunstar_executor::maybe_yield;
use sunstar_http1::HeaderName;
use zstd::zstd_safe::CParameter;

use super::accept::Coding;
use crate::error::Error;
use crate::exchange::{Exchange, ResponseWriter};
use crate::server::Shared;

/// Encoders of one shard at a time. Further responses go as they are.
pub const MAX_ENCODERS: usize = 32;

/// So many bytes are given to an encoder before others are asked whether they want the processor: some hundred microseconds' worth.
const SLICE_BYTES: usize = 8 << 10;

/// Compressed bytes are sent when there are so many of them.
const CHUNK_BYTES: usize = 16 << 10;

/// For content that is compressed again for each request: most of what is to be gained, at a fraction of the highest levels'
/// price.
const GZIP_LEVEL: u32 = 5;
/// Brotli gathers a block and works on it as a whole: 16 KiB up to this level, and 64 KiB above it, which is milliseconds' worth.
const BROTLI_LEVEL: u32 = 3;
const ZSTD_LEVEL: i32 = 3;

/// How far back content is looked for, as powers of two: what bounds the memory of an encoder, and of whoever decodes.
const BROTLI_WINDOW_BITS: u32 = 18;
const ZSTD_WINDOW_BITS: u32 = 18;

/// Buffered by brotli's encoder beside its window.
const BROTLI_BUFFER_BYTES: usize = 4096;

/// Compresses the body of one response.
///
/// Made by [`Exchange::encoder`]. The response is begun as any other, [announced](Encoder::announce), and streamed with unknown length;
/// then its body goes by the encoder:
///
/// ```
/// # use sunstar_http::{Error, Exchange, HeaderName, Request, Status};
/// async fn report(request: Request, exchange: &mut Exchange<'_>) -> Result<(), Error> {
///     let mut encoder = exchange.encoder(&request);
///     let mut response = exchange.respond(Status::OK)?;
///     response.header(HeaderName::CONTENT_TYPE, "text/csv")?.header(HeaderName::VARY, "Accept-Encoding")?;
///     encoder.announce(&mut response);
///     response.stream(None);
///     for line in 0..10_000 {
///         encoder.send(exchange, format!("{line};{}\n", line * line).as_bytes()).await?;
///     }
///     encoder.end(exchange).await
/// }
/// ```
///
/// With what waits to be sent it holds up to some 0.5 MiB (gzip), 1.7 MiB (zstd), or 4 MiB (brotli) of memory, and there are at most
/// [`MAX_ENCODERS`] on a shard.
pub struct Encoder {
    kind: Kind,
    coding: Option<Coding>,
    _place: Option<Place>,
}

enum Kind {
    /// Bytes go as they are.
    Identity(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

/// One of the encoders that a shard may have.
struct Place(Rc<Shared>);

impl Place {
    /// If there is one.
    fn take(shared: &Rc<Shared>) -> Option<Self> {
        let count = shared.encoders.get();
        if count >= MAX_ENCODERS {
            shared.uncompressed.set(shared.uncompressed.get() + 1);
            return None;
        }
        shared.encoders.set(count + 1);
        Some(Self(Rc::clone(shared)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.encoders.set(self.0.encoders.get() - 1);
    }
}

impl Encoder {
    /// Leaves everything as it is.
    pub(crate) const fn identity() -> Self {
        Self { kind: Kind::Identity(Vec::new()), coding: None, _place: None }
    }

    /// An encoder, unless the shard has too many.
    pub(crate) fn new(coding: Coding, shared: &Rc<Shared>) -> Option<Self> {
        let place = Place::take(shared)?;
        let kind = match coding {
            Coding::Gzip => Kind::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL))),
            Coding::Brotli => Kind::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER_BYTES,
                BROTLI_LEVEL,
                BROTLI_WINDOW_BITS,
            ))),
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL).ok()?;
                encoder.set_parameter(CParameter::WindowLog(ZSTD_WINDOW_BITS)).ok()?;
                Kind::Zstd(encoder)
            }
        };
        Some(Self { kind, coding: Some(coding), _place: Some(place) })
    }

    /// What it does to the content; `None` if it leaves it as it is.
    pub const fn coding(&self) -> Option<Coding> {
        self.coding
    }

    /// Adds `Content-Encoding`, if there is something to be said. `Vary` is the handler's business: it belongs into the
    /// response whatever the encoder does.
    #[expect(clippy::missing_panics_doc, reason = "names of codings have no control characters")]
    pub fn announce(&self, response: &mut ResponseWriter<'_>) {
        if let Some(coding) = self.coding {
            response.header(HeaderName::CONTENT_ENCODING, coding.name()).expect("names of codings are values");
        }
    }

    /// Sends more of the body. What it makes of it may be sent later, see [`Encoder::flush`]. Lets other tasks run in between, and
    /// waits while the client does not take what is sent.
    ///
    /// Dropping the future leaves the body incomplete: the exchange can only be given up.
    ///
    /// # Errors
    /// As for [`Exchange::send_body`], and if there is no memory for the encoder.
    pub async fn send(&mut self, exchange: &mut Exchange<'_>, bytes: &[u8]) -> Result<(), Error> {
        for slice in bytes.chunks(SLICE_BYTES) {
            self.writer().write_all(slice).map_err(|_| Error::Encoder)?;
            if self.made().len() >= CHUNK_BYTES {
                self.send_made(exchange).await?;
            }
            maybe_yield().await;
        }
        Ok(())
    }

    /// Sends all that it was given, at some cost in size: for bodies that the client shall see grow.
    ///
    /// # Errors
    /// As for [`Encoder::send`].
    pub async fn flush(&mut self, exchange: &mut Exchange<'_>) -> Result<(), Error> {
        self.writer().flush().map_err(|_| Error::Encoder)?;
        self.send_made(exchange).await
    }

    /// Sends the rest, and ends the body.
    ///
    /// # Errors
    /// As for [`Encoder::send`] and [`Exchange::end_body`].
    pub async fn end(self, exchange: &mut Exchange<'_>) -> Result<(), Error> {
        let rest = match self.kind {
            Kind::Identity(rest) => Ok(rest),
            Kind::Gzip(encoder) => encoder.finish(),
            Kind::Brotli(encoder) => Ok(encoder.into_inner()),
            Kind::Zstd(encoder) => encoder.finish(),
        };
        exchange.send_body(rest.map_err(|_: io::Error| Error::Encoder)?).await?;
        exchange.end_body()
    }

    async fn send_made(&mut self, exchange: &mut Exchange<'_>) -> Result<(), Error> {
        let bytes = std::mem::take(self.made());
        exchange.send_body(bytes).await
    }

    fn writer(&mut self) -> &mut dyn Write {
        match &mut self.kind {
            Kind::Identity(made) => made,
            Kind::Gzip(encoder) => encoder,
            Kind::Brotli(encoder) => encoder,
            Kind::Zstd(encoder) => encoder,
        }
    }

    /// What was made and not sent.
    fn made(&mut self) -> &mut Vec<u8> {
        match &mut self.kind {
            Kind::Identity(made) => made,
            Kind::Gzip(encoder) => encoder.get_mut(),
            Kind::Brotli(encoder) => encoder.get_mut(),
            Kind::Zstd(encoder) => encoder.get_mut(),
        }
    }
}

impl core::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Encoder").field("coding", &self.coding).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brotli_works_on_small_blocks() {
        let mut encoder =
            brotli::CompressorWriter::new(Vec::new(), BROTLI_BUFFER_BYTES, BROTLI_LEVEL, BROTLI_WINDOW_BITS);
        let mut number = 1_u32;
        for _ in 0..10 {
            let made_bytes = encoder.get_ref().len();
            let mut given_bytes = 0;
            while given_bytes < 32 << 10 {
                number ^= number << 13;
                number ^= number >> 17;
                number ^= number << 5;
                let word = std::format!("{} ", number % 100_000);
                encoder.write_all(word.as_bytes()).unwrap();
                given_bytes += word.len();
            }
            assert!(encoder.get_ref().len() > made_bytes, "it waits for more");
        }
    }
}

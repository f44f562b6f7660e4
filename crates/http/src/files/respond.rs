//! Responses with files, parts of files, and without.

use core::ops::Range;
use std::format;
use std::string::String;
use std::vec::Vec;

use sunstar_executor::current::entropy;
use sunstar_executor::maybe_yield;
use sunstar_http1::{HeaderName, Method, Request, Status};
use sunstar_storage::{Error as StorageError, File};

use super::conditional::Verdict;
use super::range::{Selection, select};
use super::representation::Representation;
use super::{Files, Refusal};
use crate::compress::Encoder;
use crate::error::Error;
use crate::exchange::{Exchange, ResponseWriter};

/// Files up to this size are read, and leave in one piece with the head: that costs less than to send them from the file.
const READ_BYTES: u64 = 8 << 10;

/// Of a file that is compressed, so many bytes are read at once.
const PIECE_BYTES: usize = 64 << 10;

impl Files {
    pub(super) async fn serve_file(
        &self,
        request: &Request,
        file: File,
        path: &[u8],
        exchange: &mut Exchange<'_>,
    ) -> Result<(), Error> {
        let headers = request.headers();
        let representation = match self.represent(file, path, headers).await {
            Ok(representation) => representation,
            Err(refusal) => return refuse(exchange, refusal),
        };
        match representation.validators.evaluate(headers) {
            Verdict::Go => {}
            Verdict::NotModified => {
                self.begin(Status::NOT_MODIFIED, &representation, exchange)?.stream(Some(0));
                return exchange.end_body();
            }
            Verdict::Failed => {
                self.begin(Status::PRECONDITION_FAILED, &representation, exchange)?.send("");
                return Ok(());
            }
        }
        let is_get = request.method() == Method::Get;
        let Some(len_bytes) = representation.len_bytes() else {
            return self.send_made(representation, is_get, exchange).await;
        };
        // RFC 9110 §14.2: ranges are for GET.
        let mut ranges = headers.get_all("range");
        let selection = match (ranges.next(), ranges.next()) {
            (Some(value), None) if is_get && representation.validators.may_send_part(headers) => {
                select(value, len_bytes)
            }
            _ => Selection::All,
        };
        match selection {
            Selection::All => self.send_whole(&representation, len_bytes, is_get, exchange).await,
            Selection::Unsatisfiable => {
                let mut response = self.begin(Status::RANGE_NOT_SATISFIABLE, &representation, exchange)?;
                response.header(HeaderName::CONTENT_RANGE, format!("bytes */{len_bytes}"))?;
                response.send("");
                Ok(())
            }
            Selection::Parts(parts) => match parts.as_slice() {
                [part] => self.send_part(&representation, part, len_bytes, exchange).await,
                parts => self.send_parts(&representation, parts, len_bytes, exchange).await,
            },
        }
    }

    /// Begins a response about a form of a file, with all that is said of it but its type.
    fn begin<'a>(
        &self,
        status: Status,
        representation: &Representation,
        exchange: &'a mut Exchange<'_>,
    ) -> Result<ResponseWriter<'a>, Error> {
        let mut response = exchange.respond(status)?;
        response.lines(&self.lines);
        let validators = &representation.validators;
        response.header(HeaderName::ETAG, validators.etag())?;
        response.header(HeaderName::LAST_MODIFIED, validators.last_modified().as_bytes())?;
        if representation.varies {
            response.header(HeaderName::VARY, "Accept-Encoding")?;
        }
        if !representation.is_made {
            response.header(HeaderName::ACCEPT_RANGES, "bytes")?;
        }
        Ok(response)
    }

    /// Begins a response with content.
    fn begin_content<'a>(
        &self,
        status: Status,
        representation: &Representation,
        exchange: &'a mut Exchange<'_>,
    ) -> Result<ResponseWriter<'a>, Error> {
        let mut response = self.begin(status, representation, exchange)?;
        if let Some(coding) = representation.coding {
            response.header(HeaderName::CONTENT_ENCODING, coding.name())?;
        }
        Ok(response)
    }

    async fn send_whole(
        &self,
        representation: &Representation,
        len_bytes: u64,
        is_get: bool,
        exchange: &mut Exchange<'_>,
    ) -> Result<(), Error> {
        let file = &representation.file;
        let small = match usize::try_from(len_bytes) {
            Ok(len) if is_get && len_bytes <= READ_BYTES => match file.read_at(0, len).await {
                Ok(bytes) if bytes.len() == len => Some(bytes),
                Ok(_) => return refuse(exchange, StorageError::Truncated.into()),
                Err(error) => return refuse(exchange, error.into()),
            },
            _ => None,
        };
        let mut response = self.begin_content(Status::OK, representation, exchange)?;
        response.header(HeaderName::CONTENT_TYPE, representation.media.value())?;
        if let Some(bytes) = small {
            response.send(bytes);
            return Ok(());
        }
        response.stream(Some(len_bytes));
        if is_get {
            exchange.send_file(file, 0, len_bytes).await?;
        }
        exchange.end_body()
    }

    async fn send_part(
        &self,
        representation: &Representation,
        part: &Range<u64>,
        len_bytes: u64,
        exchange: &mut Exchange<'_>,
    ) -> Result<(), Error> {
        let mut response = self.begin_content(Status::PARTIAL_CONTENT, representation, exchange)?;
        response.header(HeaderName::CONTENT_TYPE, representation.media.value())?;
        response.header(HeaderName::CONTENT_RANGE, content_range(part, len_bytes))?;
        let part_bytes = part.end - part.start;
        response.stream(Some(part_bytes));
        exchange.send_file(&representation.file, part.start, part_bytes).await?;
        exchange.end_body()
    }

    /// Several parts in one body (RFC 9110 §14.6).
    async fn send_parts(
        &self,
        representation: &Representation,
        parts: &[Range<u64>],
        len_bytes: u64,
        exchange: &mut Exchange<'_>,
    ) -> Result<(), Error> {
        let boundary = boundary();
        let media = representation.media.value();
        let heads: Vec<String> = parts
            .iter()
            .map(|part| {
                let media = String::from_utf8_lossy(&media);
                let range = content_range(part, len_bytes);
                format!("\r\n--{boundary}\r\nContent-Type: {media}\r\nContent-Range: {range}\r\n\r\n")
            })
            .collect();
        let end = format!("\r\n--{boundary}--\r\n");
        let in_parts: u64 = parts.iter().map(|part| part.end - part.start).sum();
        let around: usize = heads.iter().map(String::len).sum::<usize>() + end.len();
        let mut response = self.begin_content(Status::PARTIAL_CONTENT, representation, exchange)?;
        response.header(HeaderName::CONTENT_TYPE, format!("multipart/byteranges; boundary={boundary}"))?;
        response.stream(Some(in_parts + around as u64));
        for (part, head) in parts.iter().zip(heads) {
            exchange.send_body(head.into_bytes()).await?;
            exchange.send_file(&representation.file, part.start, part.end - part.start).await?;
        }
        exchange.send_body(end.into_bytes()).await?;
        exchange.end_body()
    }

    /// Compresses the file while it is sent; or sends it as it is, if too many are being compressed.
    async fn send_made(
        &self,
        representation: Representation,
        is_get: bool,
        exchange: &mut Exchange<'_>,
    ) -> Result<(), Error> {
        let encoder = match representation.coding {
            Some(coding) if is_get => exchange.encoder_for(coding),
            _ => Some(Encoder::identity()),
        };
        let Some(mut encoder) = encoder else {
            let plain = representation.unmade();
            let len_bytes = plain.file.metadata().len_bytes;
            return self.send_whole(&plain, len_bytes, is_get, exchange).await;
        };
        let mut response = self.begin_content(Status::OK, &representation, exchange)?;
        response.header(HeaderName::CONTENT_TYPE, representation.media.value())?;
        response.stream(None);
        if !is_get {
            return exchange.end_body();
        }
        let (file, len_bytes) = (&representation.file, representation.file.metadata().len_bytes);
        let mut offset = 0;
        while offset < len_bytes {
            let bytes = file.read_at(offset, PIECE_BYTES).await?;
            if bytes.is_empty() {
                return Err(StorageError::Truncated.into());
            }
            offset += bytes.len() as u64;
            encoder.send(exchange, &bytes).await?;
            maybe_yield().await;
        }
        encoder.end(exchange).await
    }
}

fn content_range(part: &Range<u64>, len_bytes: u64) -> String {
    format!("bytes {}-{}/{len_bytes}", part.start, part.end - 1)
}

/// What no file has in it: nobody can guess it.
fn boundary() -> String {
    let mut bytes = [0; 16];
    entropy(&mut bytes);
    format!("{:032x}", u128::from_le_bytes(bytes))
}

/// A response without file.
pub(super) fn refuse(exchange: &mut Exchange<'_>, refusal: Refusal) -> Result<(), Error> {
    let status = match refusal {
        Refusal::Status(status) => status,
        Refusal::Storage(error) => {
            log::debug!("no file: {error}");
            match error {
                StorageError::NotFound | StorageError::WrongKind => Status::NOT_FOUND,
                StorageError::Denied => Status::FORBIDDEN,
                StorageError::OutOfDescriptors | StorageError::Stopped => Status::SERVICE_UNAVAILABLE,
                _ => Status::INTERNAL_SERVER_ERROR,
            }
        }
    };
    let mut response = exchange.respond(status)?;
    response.header(HeaderName::CONTENT_TYPE, "text/plain")?;
    response.send(format!("{}\n", status.reason()).into_bytes());
    Ok(())
}

/// A response that tells which methods there are.
pub(super) fn methods(status: Status, exchange: &mut Exchange<'_>) -> Result<(), Error> {
    let mut response = exchange.respond(status)?;
    response.header(HeaderName::ALLOW, "GET, HEAD, OPTIONS")?;
    response.send("");
    Ok(())
}

/// A redirect to the same path with a slash at its end. It is relative, so that it holds behind proxies that know the path by
/// another name, and can't lead to another host.
pub(super) fn moved(request: &Request, exchange: &mut Exchange<'_>) -> Result<(), Error> {
    let name = request.path().rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let query = request.query().map_or(Vec::new(), |query| [b"?", query].concat());
    let mut response = exchange.respond(Status::MOVED_PERMANENTLY)?;
    response.header(HeaderName::LOCATION, [b"./", name, b"/", &query].concat())?;
    response.send("");
    Ok(())
}

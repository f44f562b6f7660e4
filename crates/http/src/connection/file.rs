//! Parts of files as bodies.

use alloc::rc::Rc;
use core::any::Any;

use sunstar_storage::File;

use super::Connection;
use crate::error::Error;
use crate::watch::Watch;

/// Of a file that the network does not take as such, so many bytes are read at once.
const FILE_PIECE_BYTES: usize = 64 << 10;

impl Connection {
    /// Sends a part of a file behind all output so far, and waits until the stream is about to send its last bytes: so what
    /// follows is held back by a client that does not read, as it is behind bodies from memory.
    pub(crate) async fn send_file(
        &mut self,
        file: &File,
        offset: u64,
        len_bytes: u64,
        watch: &mut Watch<'_>,
    ) -> Result<(), Error> {
        // The head leaves together with the file.
        self.writable(watch).await?;
        self.hand_over();
        // Of no bytes it only says whether the network takes the file.
        let takes = |handle: &Rc<dyn Any>| self.stream.enqueue_file(handle, offset, 0).is_ok();
        let Some(handle) = file.network_handle().filter(takes) else {
            return self.copy_file(file, offset, len_bytes, watch).await;
        };
        // Nothing waits between the two, so what is accounted for is sent.
        let len_bytes = self.http.skip_body(len_bytes)?;
        self.stream.enqueue_file(&handle, offset, len_bytes)?;
        self.sent_bytes += len_bytes;
        self.writable(watch).await
    }

    /// As [`Connection::send_file`], by way of memory.
    async fn copy_file(
        &mut self,
        file: &File,
        mut offset: u64,
        len_bytes: u64,
        watch: &mut Watch<'_>,
    ) -> Result<(), Error> {
        let end = offset.saturating_add(len_bytes);
        while offset < end {
            let piece_bytes = usize::try_from(end - offset).map_or(FILE_PIECE_BYTES, |left| left.min(FILE_PIECE_BYTES));
            let bytes = file.read_at(offset, piece_bytes).await?;
            if bytes.is_empty() {
                // The client notices by the end of the connection.
                return Err(Error::Storage(sunstar_storage::Error::Truncated));
            }
            offset += bytes.len() as u64;
            self.send_body(bytes, watch).await?;
        }
        Ok(())
    }
}

//! Sending files.

use std::cell::Cell;
use std::rc::Rc;

use rustix::io::Errno;
use sunstar_executor::TaskBuilder;
use sunstar_executor::current::try_shard_id;
use sunstar_net::Error;

use super::core::Core;
use crate::blocking::blocking;
use crate::driver::file;
use crate::driver::outgoing::FilePart;

/// What a stream knows of the part of a file that is next.
#[derive(Default)]
pub(super) struct FileReading {
    /// Whether the helper thread reads it. Until it has, the stream sends nothing.
    is_under_way: Cell<bool>,
    /// How many of the next bytes the helper thread has read. They are sent even if memory was so short that they are gone
    /// again, so that the stream gets on.
    read_bytes: Cell<u32>,
}

impl FileReading {
    pub(super) fn is_under_way(&self) -> bool {
        self.is_under_way.get()
    }
}

impl Core {
    /// Sends what is in memory of the next chunk, or has it read if that is nothing.
    pub(super) fn send_file(self: &Rc<Self>, part: &FilePart) -> Result<(), Errno> {
        let ready_bytes = match self.file_reading.read_bytes.get() {
            0 => file::resident_bytes(part),
            read_bytes => read_bytes.into(),
        };
        if ready_bytes == 0 && self.read_on_helper(part) {
            return Ok(());
        }
        let len_bytes = if ready_bytes == 0 { file::CHUNK_BYTES } else { ready_bytes };
        match self.call(|socket| file::send(socket, part, len_bytes.min(part.len_bytes)))? {
            // The file is shorter than was promised to the peer, who must not take what it got for all.
            0 => self.abort(Error::ConnectionAborted),
            count => {
                let less = u32::try_from(count).unwrap_or(u32::MAX);
                self.file_reading.read_bytes.set(self.file_reading.read_bytes.get().saturating_sub(less));
                self.sent(count);
            }
        }
        Ok(())
    }

    /// Has the helper thread read the next chunk; answers false if it can't, or if there is nobody whom a wait for the disk
    /// would hold up: after the last round of the shard.
    fn read_on_helper(self: &Rc<Self>, part: &FilePart) -> bool {
        if try_shard_id().is_none() {
            return false;
        }
        // The file must stay open until the thread is done with it, even if the stream is long gone.
        let Ok(file) = part.file.try_clone() else { return false };
        let (offset, len_bytes) = (part.offset, part.len_bytes.min(file::CHUNK_BYTES));
        self.driver().counters.cold_file_chunks.add(1);
        self.file_reading.is_under_way.set(true);
        let waiting = Waiting { core: Rc::clone(self), len_bytes };
        TaskBuilder::new().name("read a file to be sent").spawn(async move {
            let _waiting = waiting;
            // Without a helper thread the shard waits for the disk itself.
            let _ = blocking(move || file::read_through(&file, offset, len_bytes)).await;
        });
        true
    }
}

/// Lets the stream go on when it is dropped: the chunk was read, or the shard ends.
struct Waiting {
    core: Rc<Core>,
    len_bytes: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.core.file_reading.is_under_way.set(false);
        self.core.file_reading.read_bytes.set(u32::try_from(self.len_bytes).expect("a chunk is small"));
        self.core.flush_later();
    }
}

//! What is told beside received bytes: control messages (cmsg(3)).

use libc::msghdr;
use sunstar_sockets::errno::Errno;

use crate::memory;

/// Level, type, data.
type Message = (i32, i32, Vec<u8>);

/// Bytes of `struct cmsghdr`.
const HEAD_BYTES: usize = 16;

/// Writes messages where the program has room for them, and says so in its head.
///
/// # Errors
/// [`Errno::FAULT`].
pub(crate) fn write(head: &mut msghdr, messages: &[Message]) -> Result<(), Errno> {
    let mut bytes = Vec::new();
    for (level, kind, data) in messages {
        let room = head.msg_controllen.saturating_sub(bytes.len());
        let len = HEAD_BYTES + data.len();
        if room < HEAD_BYTES {
            head.msg_flags |= libc::MSG_CTRUNC;
            break;
        }
        let fitting = &data[..data.len().min(room - HEAD_BYTES)];
        if fitting.len() < data.len() {
            head.msg_flags |= libc::MSG_CTRUNC;
        }
        bytes.extend((HEAD_BYTES + fitting.len()).to_ne_bytes());
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(fitting);
        let aligned = bytes.len() - fitting.len() - HEAD_BYTES + len.next_multiple_of(size_of::<usize>());
        bytes.resize(aligned.min(head.msg_controllen), 0);
    }
    memory::write(head.msg_control, &bytes)?;
    head.msg_controllen = bytes.len();
    Ok(())
}

/// The bytes of a structure of C, to be copied to where the program wants it.
pub(crate) fn bytes_of<T: Copy>(value: &T) -> &[u8] {
    // SAFETY: the value lives as long as the slice. Padding is copied as what it is; nobody looks at it.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

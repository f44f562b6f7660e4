//! The program's memory. Scripts hand over pointers that lead nowhere, on purpose; the kernel looks for us whether they do.

use std::ffi::c_void;

use libc::iovec;
use sunstar_sockets::errno::Errno;

/// More is not taken at once.
const MAX_BYTES: usize = 64 << 20;
/// `IOV_MAX`.
const MAX_PARTS: usize = 1_024;

/// Copies bytes out of the program's memory.
///
/// # Errors
/// [`Errno::FAULT`] if there is no such memory, [`Errno::INVAL`] if it is too much.
pub(crate) fn read(from: *const c_void, len: usize) -> Result<Vec<u8>, Errno> {
    if len > MAX_BYTES {
        return Err(Errno::INVAL);
    }
    let mut bytes = vec![0; len];
    if len > 0 {
        let local = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: len };
        let remote = iovec { iov_base: from.cast_mut(), iov_len: len };
        // SAFETY: `local` is the vector's memory; the kernel checks `remote`.
        let copied = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
        if usize::try_from(copied) != Ok(len) {
            return Err(Errno::FAULT);
        }
    }
    Ok(bytes)
}

/// Copies bytes into the program's memory.
///
/// # Errors
/// [`Errno::FAULT`] if there is no such memory.
pub(crate) fn write(to: *mut c_void, bytes: &[u8]) -> Result<(), Errno> {
    if bytes.is_empty() {
        return Ok(());
    }
    let local = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = iovec { iov_base: to, iov_len: bytes.len() };
    // SAFETY: the kernel reads `local`, which is ours, and checks `remote`, which the caller has handed over to be written.
    let copied = unsafe { libc::process_vm_writev(libc::getpid(), &local, 1, &remote, 1, 0) };
    if usize::try_from(copied) == Ok(bytes.len()) { Ok(()) } else { Err(Errno::FAULT) }
}

/// Copies a value that consists of bytes out of the program's memory.
///
/// # Errors
/// [`Errno::FAULT`].
pub(crate) fn read_value<T: Copy>(from: *const T) -> Result<T, Errno> {
    let bytes = read(from.cast(), size_of::<T>())?;
    // SAFETY: the kernel has just shown that the memory can be read, and the types are those of C, for which all bytes are a value.
    Ok(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// The parts of a scattered message.
///
/// # Errors
/// [`Errno::FAULT`], [`Errno::INVAL`] if they are too many.
pub(crate) fn parts(from: *const iovec, count: usize) -> Result<Vec<iovec>, Errno> {
    if count > MAX_PARTS {
        return Err(Errno::INVAL);
    }
    (0..count).map(|index| read_value(from.wrapping_add(index))).collect()
}

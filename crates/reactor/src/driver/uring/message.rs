//! Messages of several buffers, in the form of `sendmsg(2)`.

use std::mem::MaybeUninit;

use sunstar_packet::Buffer;

/// A message's header and what it points to.
pub(super) struct Message {
    header: libc::msghdr,
    slices: Vec<libc::iovec>,
}

impl Default for Message {
    fn default() -> Self {
        // SAFETY: null pointers and zero lengths are a valid header.
        let header = unsafe { MaybeUninit::zeroed().assume_init() };
        Self { header, slices: Vec::new() }
    }
}

impl Message {
    /// Lets the message consist of these buffers. The header stays valid until the next call, and is one to be read from.
    pub(super) fn of_buffers(&mut self, buffers: &[Buffer]) -> *const libc::msghdr {
        let slice = |bytes: &Buffer| libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        self.slices.clear();
        self.slices.extend(buffers.iter().map(slice));
        self.header.msg_iov = self.slices.as_mut_ptr();
        self.header.msg_iovlen = self.slices.len();
        &raw const self.header
    }

    /// Lets the message go to an address, or nowhere in particular if `len` is zero. The address must stay in its place.
    pub(super) fn with_name(&mut self, name: *const libc::c_void, len: libc::socklen_t) -> *const libc::msghdr {
        self.header.msg_name = name.cast_mut();
        self.header.msg_namelen = len;
        &raw const self.header
    }
}

//! The plug-in, loaded by its file as packetdrill does it.

use std::ffi::{CString, c_void};
use std::mem::MaybeUninit;
use std::path::PathBuf;

use libc::timeval;
use sunstar_packetdrill::interface::{Interface, Userdata};

type Init = unsafe extern "C" fn(*const i8, *mut Interface);

/// The functions, and what each of them gets first.
#[derive(Clone, Copy)]
pub(crate) struct Host {
    pub(crate) functions: Interface,
}

// SAFETY: the functions may be called by several threads; nothing else is in it.
unsafe impl Send for Host {}

/// The library that cargo has built beside this test.
fn library() -> PathBuf {
    let test = std::env::current_exe().expect("the test is a file");
    let folder = test.parent().expect("it lies in a folder");
    let name = "libsunstar_packetdrill.so";
    let beside = folder.join(name);
    if beside.exists() { beside } else { folder.parent().expect("deps lies in a folder").join(name) }
}

/// Loads it, with options as `--so_flags` has them. There is one world in a process.
pub(crate) fn load(flags: &str) -> Host {
    let path = CString::new(library().into_os_string().into_encoded_bytes()).expect("a path");
    let flags = CString::new(flags).expect("options have no zeros");
    // SAFETY: the library is our own, and is never unloaded.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL | libc::RTLD_NODELETE) };
    assert!(!handle.is_null(), "the library can be loaded");
    // SAFETY: the name is a C string.
    let symbol = unsafe { libc::dlsym(handle, c"packetdrill_interface_init".as_ptr()) };
    assert!(!symbol.is_null(), "it has the one symbol");
    // SAFETY: that is the symbol's type.
    let init = unsafe { std::mem::transmute::<*mut c_void, Init>(symbol) };
    let mut functions = MaybeUninit::<Interface>::uninit();
    // SAFETY: there is room for the functions, which it fills in.
    let functions = unsafe {
        init(flags.as_ptr(), functions.as_mut_ptr());
        functions.assume_init()
    };
    Host { functions }
}

impl Host {
    pub(crate) fn data(self) -> Userdata {
        self.functions.userdata
    }

    /// What time it is there.
    pub(crate) fn micros(self) -> i64 {
        let mut time = timeval { tv_sec: 0, tv_usec: 0 };
        assert_eq!((self.functions.gettimeofday)(self.data(), &mut time, std::ptr::null_mut()), 0);
        time.tv_sec * 1_000_000 + time.tv_usec
    }
}

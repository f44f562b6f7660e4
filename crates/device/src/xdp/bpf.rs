//! The system call bpf(2): maps, programs, and what attaches them. All of its unsafe code.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::assembler::Instruction;

// Commands (`enum bpf_cmd`).
const MAP_CREATE: u32 = 0;
const MAP_UPDATE_ELEM: u32 = 2;
const MAP_DELETE_ELEM: u32 = 3;
const PROG_LOAD: u32 = 5;
#[cfg(test)]
const PROG_TEST_RUN: u32 = 10;
const LINK_CREATE: u32 = 28;

/// `BPF_MAP_TYPE_HASH`.
const HASH_MAP: u32 = 1;
/// `BPF_MAP_TYPE_XSKMAP`.
const MAP_OF_SOCKETS: u32 = 17;
/// `BPF_PROG_TYPE_XDP`.
const PROGRAM_OF_XDP: u32 = 6;
/// `BPF_XDP`, where such a program is attached.
const ATTACH_XDP: u32 = 37;

/// Room for what the verifier says.
const LOG_BYTES: usize = 64 * 1024;

/// Where an attached program runs (`XDP_FLAGS_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Mode {
    /// In the kernel's common code, after a buffer was made for each frame.
    Generic = 1 << 1,
    /// In the driver.
    Driver = 1 << 2,
}

/// The attributes of a command: numbers without padding between them, as `union bpf_attr` has them. Of what lies behind them the
/// kernel takes all to be zero.
///
/// # Safety
/// It is `repr(C)`, has no padding, and addresses in it are those of memory that the command may read or write.
unsafe trait Attributes {}

#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    name: [u8; 16],
}

// SAFETY: numbers of 32 bits and bytes, and no addresses.
unsafe impl Attributes for MapCreate {}

#[repr(C)]
struct MapUpdate {
    map_fd: u32,
    zero: u32,
    key: u64,
    value: u64,
    flags: u64,
}

// SAFETY: two numbers of 32 bits, then such of 64; `key` and `value` are of what lives, and as long as
// the map has them (`put`, `remove`).
unsafe impl Attributes for MapUpdate {}

#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

// SAFETY: numbers, those of 64 bits at multiples of 8; the addresses are of slices that live, with their lengths (`try_load`).
unsafe impl Attributes for ProgLoad {}

#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

// SAFETY: numbers of 32 bits, and no addresses.
unsafe impl Attributes for LinkCreate {}

fn call<A: Attributes>(command: u32, attributes: &mut A) -> io::Result<RawFd> {
    // SAFETY: the attributes are as the command has them, and what they point to may be read and written, says the trait.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<A>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(io::Error::other)
}

fn open<A: Attributes>(command: u32, attributes: &mut A) -> io::Result<OwnedFd> {
    let descriptor = call(command, attributes)?;
    // SAFETY: commands that make something answer with a new descriptor, which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// A descriptor as the kernel's structures have it.
fn number(descriptor: &impl AsRawFd) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

/// A name for those who list what is loaded.
fn name() -> [u8; 16] {
    let mut name = [0; 16];
    name[..7].copy_from_slice(b"sunstar");
    name
}

/// Makes a map of so many things at most, found by keys of type `K`, of 32 bits each.
fn create_map<K>(map_type: u32, max_entries: u32) -> io::Result<OwnedFd> {
    let key_size = u32::try_from(size_of::<K>()).map_err(io::Error::other)?;
    let mut attributes = MapCreate {
        map_type,
        key_size,
        value_size: 4,
        max_entries,
        map_flags: 0,
        inner_map_fd: 0,
        numa_node: 0,
        name: name(),
    };
    open(MAP_CREATE, &mut attributes)
}

/// Puts a value into a map that was made for keys of type `K`.
fn put<K>(map: &OwnedFd, key: &K, value: u32) -> io::Result<()> {
    let (key, value) = (address(std::slice::from_ref(key)), address(std::slice::from_ref(&value)));
    let mut attributes = MapUpdate { map_fd: number(map), zero: 0, key, value, flags: 0 };
    call(MAP_UPDATE_ELEM, &mut attributes).map(drop)
}

/// What redirects to sockets: for each queue of a device the socket that has it. A socket leaves it when it is closed.
#[derive(Debug)]
pub(super) struct SocketMap(OwnedFd);

impl SocketMap {
    /// For so many queues, of none of which there is a socket.
    pub(super) fn new(queues: u32) -> io::Result<Self> {
        create_map::<u32>(MAP_OF_SOCKETS, queues).map(Self)
    }

    /// The map for a program's instruction.
    pub(super) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Has what comes in by a queue go to a socket, which is bound to that queue.
    pub(super) fn put_socket(&self, queue: u32, socket: &impl AsRawFd) -> io::Result<()> {
        put(&self.0, &queue, number(socket))
    }
}

/// What a program knows addresses by, of `BYTES` bytes each: for each a number, which is not zero if all that is for it is meant.
#[derive(Debug)]
pub(super) struct AddressMap<const BYTES: usize>(OwnedFd);

impl<const BYTES: usize> AddressMap<BYTES> {
    /// For so many addresses, of which there is none.
    pub(super) fn new(limit: u32) -> io::Result<Self> {
        create_map::<[u8; BYTES]>(HASH_MAP, limit).map(Self)
    }

    /// The map for a program's instruction.
    pub(super) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Adds an address, or changes what is known of it. There may be too many (`E2BIG`).
    pub(super) fn put(&self, address: [u8; BYTES], is_whole: bool) -> io::Result<()> {
        put(&self.0, &address, is_whole.into())
    }

    /// Removes an address, if it is there.
    pub(super) fn remove(&self, bytes: [u8; BYTES]) -> io::Result<()> {
        let key = address(std::slice::from_ref(&bytes));
        let mut attributes = MapUpdate { map_fd: number(&self.0), zero: 0, key, value: 0, flags: 0 };
        match call(MAP_DELETE_ELEM, &mut attributes) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }
}

/// The address of a slice as the kernel's structures have it.
fn address<T>(slice: &[T]) -> u64 {
    slice.as_ptr().expose_provenance() as u64
}

/// A program that decides about each frame that an interface receives.
#[derive(Debug)]
pub(super) struct Program(OwnedFd);

/// Why a program can't be loaded.
#[derive(Debug)]
pub(super) struct LoadError {
    pub(super) error: io::Error,
    /// What the verifier says; nothing if the program was not looked at.
    pub(super) log: String,
}

impl Program {
    /// Has the kernel verify and keep a program.
    pub(super) fn load(instructions: &[Instruction]) -> Result<Self, LoadError> {
        // What the verifier says takes time and memory, and is of interest only if it refuses.
        try_load(instructions, &mut []).map(Self).or_else(|error| {
            let mut log = vec![0; LOG_BYTES];
            let refused = |error, log| Err(LoadError { error, log });
            if let Some(libc::EPERM | libc::ENOSYS) = error.raw_os_error() {
                return refused(error, String::new());
            }
            let error = match try_load(instructions, &mut log) {
                Ok(program) => return Ok(Self(program)),
                Err(error) => error,
            };
            let text = log.split(|&byte| byte == 0).next().unwrap_or_default();
            refused(error, String::from_utf8_lossy(text).into_owned())
        })
    }

    /// Attaches the program to an interface, by its index. It is detached when the link is closed, by whatever end of the process.
    pub(super) fn attach(&self, interface: u32, mode: Mode) -> io::Result<Link> {
        let mut attributes = LinkCreate {
            prog_fd: number(&self.0),
            target_ifindex: interface,
            attach_type: ATTACH_XDP,
            flags: mode as u32,
        };
        open(LINK_CREATE, &mut attributes).map(|link| Link { _descriptor: link })
    }
}

/// What keeps a program attached.
#[derive(Debug)]
pub(super) struct Link {
    _descriptor: OwnedFd,
}

fn try_load(instructions: &[Instruction], log: &mut [u8]) -> io::Result<OwnedFd> {
    // It calls nothing that is for programs under the GPL.
    let license = c"Apache-2.0".to_bytes_with_nul();
    let count = |len| u32::try_from(len).map_err(io::Error::other);
    let mut attributes = ProgLoad {
        prog_type: PROGRAM_OF_XDP,
        instruction_count: count(instructions.len())?,
        instructions: address(instructions),
        license: address(license),
        log_level: u32::from(!log.is_empty()),
        log_size: count(log.len())?,
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr().expose_provenance() as u64 },
        kern_version: 0,
        prog_flags: 0,
        name: name(),
        prog_ifindex: 0,
        expected_attach_type: ATTACH_XDP,
    };
    open(PROG_LOAD, &mut attributes)
}

#[cfg(test)]
mod testing {
    use super::*;

    /// What a program is run with, and what comes of it.
    #[repr(C)]
    #[derive(Default)]
    struct TestRun {
        prog_fd: u32,
        answer: u32,
        data_size_in: u32,
        data_size_out: u32,
        data_in: u64,
        data_out: u64,
        repeat: u32,
        duration: u32,
        ctx_size_in: u32,
        ctx_size_out: u32,
        ctx_in: u64,
        ctx_out: u64,
        flags: u32,
        cpu: u32,
        batch_size: u32,
        zero: u32,
    }

    // SAFETY: numbers, those of 64 bits at multiples of 8; the addresses are of slices that live, with their lengths (`run`).
    unsafe impl Attributes for TestRun {}

    impl Program {
        /// What the program answers for the first `end` of these bytes, which the first queue of an interface has received. The kernel
        /// wants 14 bytes at least, whatever the program is to see of them.
        pub(crate) fn run(&self, data: &[u8], end: u32) -> io::Result<u32> {
            let len = u32::try_from(data.len()).unwrap();
            // `struct xdp_md`: data, its end, metadata; interfaces and queues.
            let context = [0_u32, end, 0, 0, 0, 0];
            let mut attributes = TestRun {
                prog_fd: number(&self.0),
                data_size_in: len,
                data_in: address(data),
                ctx_size_in: 24,
                ctx_in: address(&context),
                ..TestRun::default()
            };
            call(PROG_TEST_RUN, &mut attributes)?;
            Ok(attributes.answer)
        }
    }
}

//! The ring: entries go in, completions come out, with as few system calls as can be in between.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, Probe, cqueue, opcode, squeue};

use crate::io_stats::IoCounters;

/// Entries that are handed to the kernel at once at most. A larger batch takes several system calls.
const SUBMISSION_ENTRIES: u32 = 256;

/// Completions that wait to be looked at, before the kernel has to keep further ones on a list of its own.
const COMPLETION_ENTRIES: u32 = 4096;

/// A time for which the kernel has a number; a longer wait ends early.
const LONGEST_WAIT: Duration = Duration::from_secs(1 << 32);

/// Completions that are taken out of the ring at once.
pub(super) const BURST: usize = 64;

/// How many bursts are dealt with before the kernel is called again.
pub(super) const BURSTS: u32 = 64;

const _: () = assert!(BURST * BURSTS as usize == COMPLETION_ENTRIES as usize);

/// Room for a burst of completions.
pub(super) type Burst = [MaybeUninit<cqueue::Entry>; BURST];

/// What the driver can't do without, by number and name.
const NEEDED: &[(u8, &str)] = &[
    (opcode::PollAdd::CODE, "poll"),
    (opcode::Accept::CODE, "accept"),
    (opcode::Connect::CODE, "connect"),
    (opcode::Recv::CODE, "recv"),
    (opcode::RecvMsg::CODE, "recvmsg"),
    (opcode::Read::CODE, "read"),
    (opcode::Send::CODE, "send"),
    (opcode::SendMsg::CODE, "sendmsg"),
    (opcode::Close::CODE, "close"),
    (opcode::Timeout::CODE, "timeout"),
    (opcode::AsyncCancel::CODE, "cancel"),
];

/// A ring that belongs to the thread that made it.
pub(super) struct Ring {
    ring: RefCell<IoUring>,
    /// Entries for which there was no room because the kernel took none at that moment. They go first.
    waiting: RefCell<VecDeque<squeue::Entry>>,
    has_zero_copy: bool,
    counters: IoCounters,
}

impl Ring {
    /// Sets a ring up and finds out whether the kernel has all that the driver needs.
    pub(super) fn new() -> io::Result<Self> {
        let ring = IoUring::builder()
            .dontfork()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(COMPLETION_ENTRIES)
            .build(SUBMISSION_ENTRIES)?;
        let parameters = ring.params();
        let features = [
            (parameters.is_feature_nodrop(), "keep completions that overflow"),
            (parameters.is_feature_submit_stable(), "copy what entries point to"),
            (parameters.is_feature_ext_arg(), "wait with a timeout"),
            (parameters.is_feature_fast_poll(), "poll by itself"),
            (parameters.is_feature_skip_cqe_on_success(), "skip completions"),
        ];
        if let Some((_, lacking)) = features.iter().find(|(is_there, _)| !is_there) {
            return Err(unsupported(&format!("the kernel's io_uring does not {lacking}")));
        }
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        if let Some((_, lacking)) = NEEDED.iter().find(|(code, _)| !probe.is_supported(*code)) {
            return Err(unsupported(&format!("the kernel's io_uring lacks the operation {lacking}")));
        }
        let has_zero_copy = probe.is_supported(opcode::SendZc::CODE) && probe.is_supported(opcode::SendMsgZc::CODE);
        Ok(Self {
            ring: RefCell::new(ring),
            waiting: RefCell::default(),
            has_zero_copy,
            counters: IoCounters::default(),
        })
    }

    /// Whether the kernel can send without copying.
    pub(super) fn has_zero_copy(&self) -> bool {
        self.has_zero_copy
    }

    /// What the driver counts.
    pub(super) fn counters(&self) -> &IoCounters {
        &self.counters
    }

    /// Puts an entry into the submission queue, which never fails: without room the queue is submitted first.
    ///
    /// # Safety
    /// What the entry points to stays valid until its last completion has been taken, where the kernel reads it later than
    /// at its submission. Memory that the kernel writes to is nobody else's until then.
    pub(super) unsafe fn push(&self, entry: &squeue::Entry) {
        if self.waiting.borrow().is_empty() {
            // SAFETY: handed on to the caller.
            if unsafe { self.try_push(entry) } {
                return;
            }
            self.enter(0, EnterFlags::empty(), None);
            // SAFETY: handed on to the caller.
            if unsafe { self.try_push(entry) } {
                return;
            }
        }
        self.waiting.borrow_mut().push_back(entry.clone());
    }

    /// # Safety
    /// As for [`Ring::push`].
    unsafe fn try_push(&self, entry: &squeue::Entry) -> bool {
        // SAFETY: handed on to the caller.
        unsafe { self.ring.borrow_mut().submission().push(entry) }.is_ok()
    }

    /// Submits what there is and lets the kernel complete what it has ready, if there is either; no system call otherwise.
    pub(super) fn exchange(&self) {
        self.push_waiting();
        let is_due = {
            let mut ring = self.ring.borrow_mut();
            let queue = ring.submission();
            !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
        };
        if is_due {
            self.enter(0, EnterFlags::GETEVENTS, None);
        }
    }

    /// Submits what there is and waits for a completion, for ever without a `timeout`. Answers false if a signal came first.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> bool {
        self.push_waiting();
        if !self.waiting.borrow().is_empty() || !self.ring.borrow_mut().completion().is_empty() {
            return true;
        }
        self.enter(1, EnterFlags::GETEVENTS, timeout)
    }

    /// Whether the kernel has taken all entries.
    pub(super) fn is_submitted(&self) -> bool {
        self.waiting.borrow().is_empty() && self.ring.borrow_mut().submission().is_empty()
    }

    /// Takes completions out of the ring.
    pub(super) fn take<'a>(&self, burst: &'a mut Burst) -> &'a [cqueue::Entry] {
        self.ring.borrow_mut().completion().fill(burst)
    }

    /// Registers a ring of provided buffers.
    ///
    /// # Safety
    /// The entries stay valid until the group is unregistered or the ring closed.
    pub(super) unsafe fn register_buffers(&self, entries: u64, count: u16, group: u16) -> io::Result<()> {
        // SAFETY: handed on to the caller.
        unsafe { self.ring.borrow().submitter().register_buf_ring_with_flags(entries, count, group, 0) }
    }

    /// Moves entries that had to wait into the submission queue, as many as there is room for.
    fn push_waiting(&self) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            return;
        }
        let mut ring = self.ring.borrow_mut();
        let mut queue = ring.submission();
        while let Some(entry) = waiting.front() {
            // SAFETY: `push` was told that the entry is valid until its completion.
            if unsafe { queue.push(entry) }.is_err() {
                return;
            }
            waiting.pop_front();
        }
    }

    /// Answers false if a signal came first.
    fn enter(&self, min_complete: u32, mut flags: EnterFlags, timeout: Option<Duration>) -> bool {
        self.counters.system_calls.add(1);
        let mut ring = self.ring.borrow_mut();
        let (staged, has_overflowed) = {
            let queue = ring.submission();
            (queue.len(), queue.cq_overflow())
        };
        if has_overflowed {
            self.counters.completion_overflows.add(1);
            flags |= EnterFlags::GETEVENTS;
        }
        let staged = u32::try_from(staged).expect("the submission queue is small");
        let limit = timeout.map(|timeout| Timespec::from(timeout.min(LONGEST_WAIT)));
        let mut arguments = SubmitArgs::new();
        if let Some(limit) = &limit {
            arguments = arguments.timespec(limit);
            flags |= EnterFlags::EXT_ARG;
        }
        let arguments = limit.is_some().then_some(&arguments);
        // SAFETY: the arguments are of the form that the flags say, and live through the call. What entries point to is
        // valid, as `push` was told.
        let answer = unsafe { ring.submitter().enter(staged, min_complete, flags.bits(), arguments) };
        match answer.map_err(|error| error.raw_os_error()) {
            // The time has passed, or there is no memory or no room for completions at this moment: what was
            // not submitted stays in the queue for the next call.
            Err(Some(libc::EINTR)) => false,
            Ok(_) | Err(Some(libc::ETIME | libc::EAGAIN | libc::EBUSY | libc::ENOMEM)) => true,
            Err(error) => panic!("io_uring does not take its own ring: {error:?}"),
        }
    }
}

fn unsupported(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, text)
}

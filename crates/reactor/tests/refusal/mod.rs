//! System calls that are refused, as some containers do: by a filter of system calls (`seccomp(2)`).

use std::io;

/// Lets the calling thread, and those that it starts from now on, have this error for an answer to a system call.
pub(crate) fn refuse(call: libc::c_long, errno: libc::c_int) {
    let statement = |code: u32, operand: u32, jump_if_false: u8| libc::sock_filter {
        code: code.try_into().expect("codes have 16 bits"),
        jt: 0,
        jf: jump_if_false,
        k: operand,
    };
    let number = u32::try_from(call).expect("numbers are small");
    let errno = u32::try_from(errno).expect("numbers are small");
    let mut filter = [
        // The number stands first in what the filter sees.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number, 1),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: sets a flag of this thread.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: the kernel reads a program of as many instructions as it says, which lives until the call returns.
    let answer = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(answer, 0, "{}", io::Error::last_os_error());
}

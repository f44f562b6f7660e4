//! Error numbers, as Linux has them on all architectures that share the generic table.

use core::fmt;

/// Why a call failed: `errno`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(u16);

/// Each number with its name, and what it says.
const NAMES: [(u16, &str, &str); 32] = [
    (1, "EPERM", "operation not permitted"),
    (4, "EINTR", "interrupted"),
    (9, "EBADF", "bad descriptor"),
    (11, "EAGAIN", "try again"),
    (12, "ENOMEM", "out of memory"),
    (14, "EFAULT", "bad address"),
    (17, "EEXIST", "exists already"),
    (22, "EINVAL", "invalid argument"),
    (2, "ENOENT", "no such entry"),
    (24, "EMFILE", "too many descriptors"),
    (29, "ESPIPE", "illegal seek"),
    (32, "EPIPE", "the stream has been ended"),
    (33, "EDOM", "out of the domain"),
    (40, "ELOOP", "watches that watch each other"),
    (88, "ENOTSOCK", "not a socket"),
    (89, "EDESTADDRREQ", "destination address required"),
    (92, "ENOPROTOOPT", "no such option"),
    (93, "EPROTONOSUPPORT", "protocol not supported"),
    (94, "ESOCKTNOSUPPORT", "socket type not supported"),
    (95, "EOPNOTSUPP", "operation not supported"),
    (97, "EAFNOSUPPORT", "address family not supported"),
    (98, "EADDRINUSE", "address in use"),
    (99, "EADDRNOTAVAIL", "address not available"),
    (101, "ENETUNREACH", "no way to the network"),
    (103, "ECONNABORTED", "connection given up"),
    (104, "ECONNRESET", "connection reset by the other side"),
    (105, "ENOBUFS", "no room"),
    (106, "EISCONN", "connected already"),
    (107, "ENOTCONN", "not connected"),
    (110, "ETIMEDOUT", "the other side has not answered in time"),
    (111, "ECONNREFUSED", "connection refused"),
    (113, "EHOSTUNREACH", "no way to the host"),
];

/// Those that have a name of their own beside the table, and those of connections under way.
const MORE: [(u16, &str, &str); 4] = [
    (25, "ENOTTY", "not for this kind of descriptor"),
    (42, "ENOMSG", "no message of that kind"),
    (114, "EALREADY", "under way already"),
    (115, "EINPROGRESS", "under way"),
];

#[expect(missing_docs, reason = "the names are those of the manual pages, and Display says what they mean")]
impl Errno {
    pub const PERM: Self = Self(1);
    pub const NOENT: Self = Self(2);
    pub const INTR: Self = Self(4);
    pub const BADF: Self = Self(9);
    pub const AGAIN: Self = Self(11);
    pub const NOMEM: Self = Self(12);
    pub const FAULT: Self = Self(14);
    pub const EXIST: Self = Self(17);
    pub const INVAL: Self = Self(22);
    pub const MFILE: Self = Self(24);
    pub const NOTTY: Self = Self(25);
    pub const SPIPE: Self = Self(29);
    pub const PIPE: Self = Self(32);
    pub const DOM: Self = Self(33);
    pub const LOOP: Self = Self(40);
    pub const NOMSG: Self = Self(42);
    pub const NOTSOCK: Self = Self(88);
    pub const DESTADDRREQ: Self = Self(89);
    pub const NOPROTOOPT: Self = Self(92);
    pub const PROTONOSUPPORT: Self = Self(93);
    pub const SOCKTNOSUPPORT: Self = Self(94);
    pub const OPNOTSUPP: Self = Self(95);
    pub const AFNOSUPPORT: Self = Self(97);
    pub const ADDRINUSE: Self = Self(98);
    pub const ADDRNOTAVAIL: Self = Self(99);
    pub const NETUNREACH: Self = Self(101);
    pub const CONNABORTED: Self = Self(103);
    pub const CONNRESET: Self = Self(104);
    pub const NOBUFS: Self = Self(105);
    pub const ISCONN: Self = Self(106);
    pub const NOTCONN: Self = Self(107);
    pub const TIMEDOUT: Self = Self(110);
    pub const CONNREFUSED: Self = Self(111);
    pub const HOSTUNREACH: Self = Self(113);
    pub const ALREADY: Self = Self(114);
    pub const INPROGRESS: Self = Self(115);
}

impl Errno {
    /// The number, as it stands in `errno`.
    pub const fn number(self) -> u16 {
        self.0
    }

    fn entry(self) -> Option<&'static (u16, &'static str, &'static str)> {
        NAMES.iter().chain(&MORE).find(|(number, ..)| *number == self.0)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.entry().map_or("errno", |(_, name, _)| name))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, name, meaning) = self.entry().copied().unwrap_or((self.0, "errno", "unknown"));
        write!(f, "{meaning} ({name}, {number})")
    }
}

impl core::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_name() {
        let numbers: Vec<u16> = NAMES.iter().chain(&MORE).map(|(number, ..)| *number).collect();
        for number in &numbers {
            assert_eq!(numbers.iter().filter(|other| *other == number).count(), 1, "{number}");
        }
        assert_eq!(format!("{:?} {}", Errno::AGAIN, Errno::PIPE), "EAGAIN the stream has been ended (EPIPE, 32)");
    }
}

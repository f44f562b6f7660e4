//! System calls of scripts, on the plug-in.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::net::SocketAddr;
use std::ptr::null_mut;

use libc::{linger, pollfd, sockaddr_in, sockaddr_in6, socklen_t};

use super::numbers::value;
use super::parse::{Argument, Call};
use super::plug_in::Host;

/// Who calls: one that waits is called by a thread of its own.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) host: Host,
    pub(crate) ours: SocketAddr,
    pub(crate) theirs: SocketAddr,
    /// Descriptors by their numbers in the script.
    pub(crate) fds: BTreeMap<i64, c_int>,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) result: i64,
    pub(crate) error: i32,
}

/// An address in memory.
enum Address {
    V4(sockaddr_in),
    V6(sockaddr_in6),
}

impl Address {
    fn new(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self::V4(sockaddr_in {
                sin_family: 2,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(address) => Self::V6(sockaddr_in6 {
                sin6_family: 10,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: 0,
            }),
        }
    }

    fn as_ptr(&self) -> *const libc::sockaddr {
        match self {
            Self::V4(address) => std::ptr::from_ref(address).cast(),
            Self::V6(address) => std::ptr::from_ref(address).cast(),
        }
    }

    fn len(&self) -> socklen_t {
        let len = match self {
            Self::V4(_) => size_of::<sockaddr_in>(),
            Self::V6(_) => size_of::<sockaddr_in6>(),
        };
        len.try_into().expect("small")
    }
}

fn int(text: &str) -> Result<c_int, String> {
    value(text)?.try_into().map_err(|_| format!("{text} is too large"))
}

fn size(text: &str) -> Result<usize, String> {
    value(text)?.try_into().map_err(|_| format!("{text} is no size"))
}

/// A list of one thing.
fn single(argument: Option<&Argument>) -> Result<&Argument, String> {
    match argument {
        Some(Argument::List(list)) if list.len() == 1 => Ok(&list[0]),
        other => Err(format!("{other:?} is not one thing in brackets")),
    }
}

impl Caller {
    /// The descriptor that an argument names.
    pub(crate) fn fd(&self, text: &str) -> Result<c_int, String> {
        // One that is closed stays the number that it was.
        self.fds.get(&value(text)?).copied().ok_or(format!("{text} is no descriptor yet"))
    }

    /// Does what the script says, and compares what is written to memory. The result is told.
    pub(crate) fn perform(&self, call: &Call) -> Result<Outcome, String> {
        let (functions, data) = (self.host.functions, self.host.data());
        let result: i64 = match call.name.as_str() {
            "socket" => {
                let family = if self.ours.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
                (functions.socket)(data, family, libc::SOCK_STREAM, libc::IPPROTO_TCP).into()
            }
            "bind" => {
                let address = Address::new(self.ours);
                (functions.bind)(data, self.fd(call.word(0)?)?, address.as_ptr(), address.len()).into()
            }
            "connect" => {
                let address = Address::new(self.theirs);
                (functions.connect)(data, self.fd(call.word(0)?)?, address.as_ptr(), address.len()).into()
            }
            "listen" => (functions.listen)(data, self.fd(call.word(0)?)?, int(call.word(1)?)?).into(),
            "accept" => (functions.accept)(data, self.fd(call.word(0)?)?, null_mut(), null_mut()).into(),
            "close" => (functions.close)(data, self.fd(call.word(0)?)?).into(),
            "shutdown" => (functions.shutdown)(data, self.fd(call.word(0)?)?, int(call.word(1)?)?).into(),
            "fcntl" => {
                let argument = call.arguments.get(2).map_or(Ok(0), |_| size(call.word(2)?))?;
                let argument = argument.try_into().map_err(|_| "flags are small")?;
                (functions.fcntl)(data, self.fd(call.word(0)?)?, int(call.word(1)?)?, argument).into()
            }
            "read" | "recv" | "write" | "send" => self.transfer(call)?,
            "setsockopt" => self.set_option(call)?,
            "getsockopt" => self.option(call)?,
            "poll" => self.poll(call)?,
            name => return Err(format!("{name} is not known")),
        };
        let error = if result < 0 { std::io::Error::last_os_error().raw_os_error().unwrap_or(0) } else { 0 };
        Ok(Outcome { result, error })
    }

    fn transfer(&self, call: &Call) -> Result<i64, String> {
        let (functions, data) = (self.host.functions, self.host.data());
        let fd = self.fd(call.word(0)?)?;
        let mut bytes = vec![b'x'; size(call.word(2)?)?];
        let (memory, len) = (bytes.as_mut_ptr().cast(), bytes.len());
        let flags = call.arguments.get(3).map_or(Ok(0), |_| int(call.word(3)?))?;
        let done = match call.name.as_str() {
            "read" => (functions.read)(data, fd, memory, len),
            "recv" => (functions.recv)(data, fd, memory, len, flags),
            "write" => (functions.write)(data, fd, memory.cast_const(), len),
            _ => (functions.send)(data, fd, memory.cast_const(), len, flags),
        };
        i64::try_from(done).map_err(|error| error.to_string())
    }

    fn set_option(&self, call: &Call) -> Result<i64, String> {
        let (fd, level, name) = (self.fd(call.word(0)?)?, int(call.word(1)?)?, int(call.word(2)?)?);
        let bytes = match call.arguments.get(3) {
            Some(Argument::Members(members)) => {
                let member = |name| int(members.get(name).ok_or(format!("{name} is not said"))?);
                let value = linger { l_onoff: member("onoff")?, l_linger: member("linger")? };
                [value.l_onoff.to_ne_bytes(), value.l_linger.to_ne_bytes()].concat()
            }
            other => match single(other)? {
                Argument::Word(word) => int(word)?.to_ne_bytes().to_vec(),
                other => return Err(format!("{other:?} is no number")),
            },
        };
        let len = bytes.len().try_into().map_err(|_| "options are short")?;
        let set = self.host.functions.setsockopt;
        Ok(set(self.host.data(), fd, level, name, bytes.as_ptr().cast(), len).into())
    }

    fn option(&self, call: &Call) -> Result<i64, String> {
        let (fd, level, name) = (self.fd(call.word(0)?)?, int(call.word(1)?)?, int(call.word(2)?)?);
        let Argument::Word(wanted) = single(call.arguments.get(3))? else { return Err("a number is told".to_owned()) };
        let (mut bytes, mut len) = ([0; 4], 4);
        let told = self.host.functions.getsockopt;
        let done = told(self.host.data(), fd, level, name, bytes.as_mut_ptr().cast(), &mut len);
        let (wanted, found) = (int(wanted)?, c_int::from_ne_bytes(bytes));
        if done == 0 && wanted != found {
            return Err(format!("the option is {found}, not {wanted}"));
        }
        Ok(done.into())
    }

    /// `struct tcp_info` of a descriptor.
    pub(crate) fn info(&self, fd: c_int) -> Result<Vec<u8>, String> {
        let (mut bytes, mut len) = (vec![0; 280], 280);
        let told = self.host.functions.getsockopt;
        let memory = bytes.as_mut_ptr().cast();
        let done = told(self.host.data(), fd, libc::SOL_TCP, libc::TCP_INFO, memory, &mut len);
        if done == 0 { Ok(bytes) } else { Err(std::io::Error::last_os_error().to_string()) }
    }

    fn poll(&self, call: &Call) -> Result<i64, String> {
        let Argument::Members(members) = single(call.arguments.first())? else {
            return Err("poll wants members".to_owned());
        };
        let member = |name: &str| members.get(name).map(String::as_str).ok_or(format!("{name} is not said"));
        let events = |name: &str| i16::try_from(value(member(name)?)?).map_err(|_| format!("{name} is too large"));
        let mut asked = pollfd { fd: self.fd(member("fd")?)?, events: events("events")?, revents: 0 };
        let done = (self.host.functions.poll)(self.host.data(), &mut asked, 1, int(call.word(2)?)?);
        let wanted = events("revents")?;
        if asked.revents != wanted {
            return Err(format!("events are {:#x}, not {wanted:#x}", asked.revents));
        }
        Ok(done.into())
    }
}

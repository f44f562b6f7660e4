//! Names of scripts and what they stand for.

use libc as c;

/// What a word means: numbers and names, joined by `|`.
pub(crate) fn value(text: &str) -> Result<i64, String> {
    text.split('|').try_fold(0, |all, word| Ok(all | one(word.trim())?))
}

fn one(word: &str) -> Result<i64, String> {
    if let Some(digits) = word.strip_prefix("0x") {
        return i64::from_str_radix(digits, 16).map_err(|_| format!("{word} is no number"));
    }
    if let Ok(number) = word.parse() {
        return Ok(number);
    }
    let known = NAMES.iter().find(|(name, _)| *name == word).ok_or(format!("{word} is not known"))?;
    Ok(known.1.into())
}

const NAMES: [(&str, i32); 52] = [
    ("SOL_SOCKET", c::SOL_SOCKET),
    ("SOL_TCP", c::SOL_TCP),
    ("SO_ERROR", c::SO_ERROR),
    ("SO_LINGER", c::SO_LINGER),
    ("SO_REUSEADDR", c::SO_REUSEADDR),
    ("TCP_CORK", c::TCP_CORK),
    ("TCP_MAXSEG", c::TCP_MAXSEG),
    ("TCP_NODELAY", c::TCP_NODELAY),
    ("TCP_SYNCNT", c::TCP_SYNCNT),
    ("TCP_USER_TIMEOUT", c::TCP_USER_TIMEOUT),
    ("F_GETFL", c::F_GETFL),
    ("F_SETFL", c::F_SETFL),
    ("O_RDWR", c::O_RDWR),
    ("O_NONBLOCK", c::O_NONBLOCK),
    ("MSG_DONTWAIT", c::MSG_DONTWAIT),
    ("MSG_PEEK", c::MSG_PEEK),
    ("POLLIN", c::POLLIN as i32),
    ("POLLOUT", c::POLLOUT as i32),
    ("POLLERR", c::POLLERR as i32),
    ("POLLHUP", c::POLLHUP as i32),
    ("POLLRDHUP", c::POLLRDHUP as i32),
    ("SHUT_RD", c::SHUT_RD),
    ("SHUT_WR", c::SHUT_WR),
    ("SHUT_RDWR", c::SHUT_RDWR),
    ("EAGAIN", c::EAGAIN),
    ("EALREADY", c::EALREADY),
    ("ECONNREFUSED", c::ECONNREFUSED),
    ("ECONNRESET", c::ECONNRESET),
    ("EINPROGRESS", c::EINPROGRESS),
    ("EISCONN", c::EISCONN),
    ("ENOTCONN", c::ENOTCONN),
    ("EPIPE", c::EPIPE),
    ("ETIMEDOUT", c::ETIMEDOUT),
    ("TCP_ESTABLISHED", 1),
    ("TCP_SYN_SENT", 2),
    ("TCP_SYN_RECV", 3),
    ("TCP_FIN_WAIT1", 4),
    ("TCP_FIN_WAIT2", 5),
    ("TCP_TIME_WAIT", 6),
    ("TCP_CLOSE", 7),
    ("TCP_CLOSE_WAIT", 8),
    ("TCP_LAST_ACK", 9),
    ("TCP_LISTEN", 10),
    ("TCP_CLOSING", 11),
    ("TCP_CA_Open", 0),
    ("TCP_CA_Disorder", 1),
    ("TCP_CA_CWR", 2),
    ("TCP_CA_Recovery", 3),
    ("TCP_CA_Loss", 4),
    ("TCPI_OPT_TIMESTAMPS", 1),
    ("TCPI_OPT_SACK", 2),
    ("TCPI_OPT_WSCALE", 4),
];

/// A member of `struct tcp_info`: its name, where it lies, and how many bytes it has. The two shifts share a byte.
const MEMBERS: [(&str, usize, usize); 26] = [
    ("tcpi_state", 0, 1),
    ("tcpi_ca_state", 1, 1),
    ("tcpi_retransmits", 2, 1),
    ("tcpi_probes", 3, 1),
    ("tcpi_backoff", 4, 1),
    ("tcpi_options", 5, 1),
    ("tcpi_snd_wscale", 6, 1),
    ("tcpi_rto", 8, 4),
    ("tcpi_snd_mss", 16, 4),
    ("tcpi_unacked", 24, 4),
    ("tcpi_sacked", 28, 4),
    ("tcpi_lost", 32, 4),
    ("tcpi_last_data_recv", 52, 4),
    ("tcpi_rtt", 68, 4),
    ("tcpi_snd_cwnd", 80, 4),
    ("tcpi_advmss", 84, 4),
    ("tcpi_total_retrans", 100, 4),
    ("tcpi_bytes_acked", 120, 8),
    ("tcpi_bytes_received", 128, 8),
    ("tcpi_segs_out", 136, 4),
    ("tcpi_notsent_bytes", 144, 4),
    ("tcpi_data_segs_in", 152, 4),
    ("tcpi_data_segs_out", 156, 4),
    ("tcpi_bytes_sent", 200, 8),
    ("tcpi_bytes_retrans", 208, 8),
    ("tcpi_snd_wnd", 228, 4),
];

/// What the structure says of a member.
pub(crate) fn member(info: &[u8], name: &str) -> Result<i64, String> {
    let (_, at, len) = MEMBERS.iter().find(|(known, ..)| *known == name).ok_or(format!("{name} is not known"))?;
    let mut bytes = [0; 8];
    bytes[..*len].copy_from_slice(&info[*at..at + len]);
    // Of the shared byte the lower half is the sender's.
    let value = i64::from_le_bytes(bytes);
    Ok(if name == "tcpi_snd_wscale" { value & 15 } else { value })
}

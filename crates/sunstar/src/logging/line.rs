//! What a record looks like.

use std::fmt::{self, Write};
use std::thread;
use std::time::SystemTime;

use humantime::format_rfc3339_millis;
use log::Record;
use sunstar_executor::ShardId;
use sunstar_executor::current::try_shard_id;

use crate::escape::Escaped;

/// The longest line of the log in bytes, without its prefix and the note that something was left out.
pub const MAX_LINE_BYTES: usize = 8192;

/// Who logs.
pub(super) enum Origin {
    Shard(ShardId),
    /// A thread outside of any shard.
    Thread(String),
}

impl Origin {
    pub(super) fn of_caller() -> Self {
        match try_shard_id() {
            Some(shard) => Self::Shard(shard),
            // A shard's thread, before the shard runs and after it has stopped, is shown as the shard.
            None => Self::Thread(thread::current().name().unwrap_or("thread").replacen("shard-", "shard ", 1)),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shard(shard) => write!(f, "shard {shard}"),
            Self::Thread(name) => write!(f, "{}", Escaped(name)),
        }
    }
}

/// The line of a record, with its end.
pub(super) fn format(time: SystemTime, origin: &Origin, record: &Record<'_>) -> String {
    let mut line = String::new();
    let (level, target) = (record.level(), Escaped(record.target()));
    // Writing to a string can't fail, and what fails to show itself is shown as far as it came.
    let _ = write!(line, "{} {level:<5} [{origin}] {target}: ", format_rfc3339_millis(time));
    let mut message = Bounded { line, room: MAX_LINE_BYTES, omitted: 0 };
    let _ = message.write_fmt(*record.args());
    let Bounded { mut line, omitted, .. } = message;
    if omitted > 0 {
        let _ = write!(line, "… ({omitted} more bytes)");
    }
    line.push('\n');
    line
}

/// Takes text into a line, escaped, up to a number of bytes.
struct Bounded {
    line: String,
    room: usize,
    /// How many bytes did not fit, as they came.
    omitted: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Escaping never shortens, so what exceeds the room before it does so afterwards.
        let fitting = text.floor_char_boundary(self.room);
        let begin = self.line.len();
        let _ = write!(self.line, "{}", Escaped(&text[..fitting]));
        self.room = self.room.saturating_sub(self.line.len() - begin);
        if fitting < text.len() {
            self.room = 0;
            self.omitted += text.len() - fitting;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level;
    use std::time::{Duration, UNIX_EPOCH};

    fn line(origin: &Origin, args: fmt::Arguments<'_>) -> String {
        let record = Record::builder().level(Level::Info).target("httpd").args(args).build();
        format(UNIX_EPOCH + Duration::from_millis(1_795_323_530_123), origin, &record)
    }

    #[test]
    fn a_record_is_time_level_origin_module_and_message() {
        let shown = line(&Origin::Shard(ShardId::new(3)), format_args!("{} {}", "a", 1));
        assert_eq!(shown, "2026-11-22T04:58:50.123Z INFO  [shard 3] httpd: a 1\n");
        assert!(line(&Origin::Thread("a\nb".into()), format_args!("")).ends_with("[a\\nb] httpd: \n"));
    }

    #[test]
    fn what_a_peer_sends_forges_no_line() {
        let hostile = "x\n2026-11-22T04:58:50.123Z ERROR [shard 0] httpd: forged\r\x1b[2K";
        let shown = line(&Origin::Shard(ShardId::new(0)), format_args!("from peer: {hostile}"));
        assert_eq!(shown.matches('\n').count(), 1);
        assert!(shown.ends_with("forged\\r\\u{1b}[2K\n"), "{shown}");
    }

    #[test]
    fn long_messages_are_cut_and_say_so() {
        let shown = line(&Origin::Shard(ShardId::new(0)), format_args!("{}{}", "ü".repeat(5_000), "end"));
        let omitted = 10_000 - MAX_LINE_BYTES + 3;
        assert!(shown.ends_with(&format!("ü… ({omitted} more bytes)\n")));
        let escaped = line(&Origin::Shard(ShardId::new(0)), format_args!("{}", "\u{1}".repeat(5_000)));
        assert!(escaped.len() < 5 * 2 * MAX_LINE_BYTES);
    }
}

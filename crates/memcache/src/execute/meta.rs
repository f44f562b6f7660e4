//! Answers to meta commands.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::command::Direction;
use crate::execute::CRLF;
use crate::limits::MAX_KEY_BYTES;
use crate::meta::{MetaCommand, MetaVerb};
use crate::number::Decimal;
use crate::output::Output;
use crate::reply::Refusal;
use crate::request::is_word;
use crate::store::{Counted, Expiry, Key, MetaCounted, MetaItem, Store, Stored};
use crate::value::Value;

/// The longest key in base64, in bytes.
const CODED_KEY_BYTES: usize = MAX_KEY_BYTES.div_ceil(3) * 4;

impl Store {
    pub(super) fn execute_meta(
        &mut self,
        command: &MetaCommand,
        key: Key<'_>,
        value: &Value,
        now_s: u32,
        output: &mut Output,
    ) {
        let mut answer = Answer { command, key: key.bytes(), now_s, output };
        match command.verb {
            MetaVerb::Get => answer.item(self.meta_get(command, key, now_s)),
            MetaVerb::Store(mode) => answer.stored(self.meta_store(command, mode, key, value, now_s)),
            MetaVerb::Delete => answer.deleted(self.meta_delete(command, key, now_s)),
            MetaVerb::Count(direction) => self.execute_meta_count(direction, key, &mut answer),
            MetaVerb::Debug => answer.debug(self.meta_look(key, now_s)),
        }
    }

    fn execute_meta_count(&mut self, direction: Direction, key: Key<'_>, answer: &mut Answer<'_>) {
        match self.meta_count(answer.command, direction, key, answer.now_s) {
            MetaCounted::Number { number, cas, expiry, is_new } => answer.number(number, cas, expiry, is_new),
            MetaCounted::Exists => answer.told(b"EX"),
            MetaCounted::Not(Counted::NotANumber) => answer.output.put_refusal(Refusal::NotANumber),
            MetaCounted::Not(Counted::NoMemory) => answer.output.put_refusal(Refusal::NoMemory),
            MetaCounted::Not(_) => answer.told(b"NF"),
        }
    }
}

/// What answers are made of.
struct Answer<'a> {
    command: &'a MetaCommand,
    key: &'a [u8],
    now_s: u32,
    output: &'a mut Output,
}

impl Answer<'_> {
    fn item(&mut self, item: Option<MetaItem<'_>>) {
        let Some(item) = item else {
            if !self.command.is_quiet {
                self.told(b"EN");
            }
            return;
        };
        if self.command.wants_value {
            self.output.put_all([b"VA ", Decimal::new(item.value.len() as u64).as_bytes()]);
        } else {
            self.output.put(b"HD");
        }
        let mut expiry = item.expiry;
        for flag in &self.command.order {
            match flag {
                b'T' => expiry = self.at(self.command.exptime),
                b'N' if item.is_new => expiry = self.at(self.command.vivify),
                b's' => self.figure(b" s", item.value.len() as u64),
                b't' => self.remaining(expiry),
                b'c' => self.figure(b" c", item.cas),
                b'f' => self.figure(b" f", item.flags.into()),
                b'l' => self.figure(b" l", item.idle_s.into()),
                b'h' => self.figure(b" h", item.was_fetched.into()),
                b'k' => self.tell_key(item.is_key_binary),
                b'O' => self.tell_opaque(),
                _ => {}
            }
        }
        for (mark, is_so) in [(b" Z", item.had_winner), (b" X", item.is_stale), (b" W", item.has_won)] {
            if is_so {
                self.output.put(mark);
            }
        }
        self.output.put(b"\r\n");
        if self.command.wants_value {
            self.output.put_found(&item.value, CRLF);
        }
    }

    fn stored(&mut self, stored: Stored) {
        let (code, cas) = match stored {
            Stored::Stored(_) if self.command.is_quiet => return,
            Stored::Stored(cas) => (b"HD", cas),
            Stored::NotStored => (b"NS", 0),
            Stored::Exists => (b"EX", 0),
            Stored::NotFound => (b"NF", 0),
            Stored::NoMemory => return self.output.put_refusal(Refusal::NoMemory),
            Stored::TooLarge => return self.output.put_refusal(Refusal::TooLarge),
        };
        self.output.put(code);
        for flag in &self.command.order {
            if *flag == b'c' {
                self.figure(b" c", cas);
            }
            self.tell_own(*flag);
        }
        self.output.put(b"\r\n");
    }

    fn deleted(&mut self, deleted: Stored) {
        match deleted {
            Stored::Stored(_) if self.command.is_quiet => {}
            Stored::Stored(_) => self.told(b"HD"),
            Stored::Exists => self.told(b"EX"),
            _ => self.told(b"NF"),
        }
    }

    fn number(&mut self, number: u64, cas: u64, before: Expiry, is_new: bool) {
        if self.command.is_quiet && !is_new {
            return;
        }
        let digits = Decimal::new(number);
        if self.command.wants_value {
            self.output.put_all([b"VA ", Decimal::new(digits.as_bytes().len() as u64).as_bytes()]);
        } else {
            self.output.put(b"HD");
        }
        let mut expiry = before;
        for flag in &self.command.order {
            match flag {
                b'T' => expiry = self.at(self.command.exptime),
                b'N' if is_new => expiry = self.at(self.command.vivify),
                b't' => self.remaining(expiry),
                b'c' => self.figure(b" c", cas),
                other => self.tell_own(*other),
            }
        }
        self.output.put(b"\r\n");
        if self.command.wants_value {
            self.output.put_all([digits.as_bytes(), b"\r\n"]);
        }
    }

    fn debug(&mut self, item: Option<MetaItem<'_>>) {
        let Some(item) = item else { return self.output.put(b"EN\r\n") };
        self.output.put(b"ME ");
        self.put_key(item.is_key_binary);
        match item.expiry.second() {
            None => self.output.put(b" exp=-1"),
            // The original counts to the time, and so does who reads it.
            Some(second) => self.figure(b" exp=-", second.saturating_sub(self.now_s).into()),
        }
        self.figure(b" la=", item.idle_s.into());
        self.figure(b" cas=", item.cas);
        self.output.put(if item.was_fetched { b" fetch=yes" } else { b" fetch=no" });
        self.figure(b" cls=", item.class as u64);
        self.figure(b" size=", item.item_bytes as u64);
        self.output.put(b"\r\n");
    }

    /// A code, and what the client wants back.
    fn told(&mut self, code: &[u8]) {
        self.output.put(code);
        for flag in &self.command.order {
            self.tell_own(*flag);
        }
        self.output.put(b"\r\n");
    }

    /// What the client has sent itself, if the flag asks for that.
    fn tell_own(&mut self, flag: u8) {
        match flag {
            b'k' => self.tell_key(self.command.is_key_binary),
            b'O' => self.tell_opaque(),
            _ => {}
        }
    }

    fn tell_opaque(&mut self) {
        self.output.put_all([b" O", &self.command.opaque]);
    }

    fn tell_key(&mut self, is_binary: bool) {
        let is_binary = is_binary || !is_word(self.key);
        self.output.put(b" k");
        self.put_key(is_binary);
        if is_binary {
            self.output.put(b" b");
        }
    }

    fn put_key(&mut self, is_binary: bool) {
        if !is_binary && is_word(self.key) {
            return self.output.put(self.key);
        }
        let mut text = [0; CODED_KEY_BYTES];
        let len = STANDARD.encode_slice(self.key, &mut text).expect("there is room for the longest key");
        self.output.put(&text[..len]);
    }

    fn figure(&mut self, name: &[u8], number: u64) {
        self.output.put_all([name, Decimal::new(number).as_bytes()]);
    }

    /// How many seconds an item has.
    fn remaining(&mut self, expiry: Expiry) {
        match expiry.second() {
            None => self.output.put(b" t-1"),
            Some(second) => self.figure(b" t", second.saturating_sub(self.now_s).into()),
        }
    }

    fn at(&self, time: Option<i64>) -> Expiry {
        Expiry::new(time.unwrap_or(0), self.now_s)
    }
}

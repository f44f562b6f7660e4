//! Scripts as text: the part of packetdrill's language that our scripts use. What is not known is an error, with its line.

use std::collections::BTreeMap;

/// When something happens or is to happen, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// From the beginning of the script.
    At(i64),
    /// From what was before.
    After(i64),
    /// Between two times from what was before.
    Within(i64, i64),
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) line: usize,
    pub(crate) when: When,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Call(Call),
    /// A segment of the peer.
    Inbound(Segment),
    /// One that we are to send.
    Outbound(Segment),
    /// What `TCP_INFO` is to tell of the newest connection.
    Info(Vec<Assertion>),
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) result: String,
    pub(crate) error: Option<String>,
    /// Of one that waits: when it ends, as the beginning of the line counts.
    pub(crate) ends: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    Ellipsis,
    Word(String),
    List(Vec<Argument>),
    Members(BTreeMap<String, String>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) flags: String,
    pub(crate) seq: u32,
    pub(crate) len: u32,
    pub(crate) ack: Option<u32>,
    pub(crate) window: Option<u16>,
    /// None if they may be any.
    pub(crate) options: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assertion {
    pub(crate) name: String,
    pub(crate) relation: String,
    pub(crate) value: String,
}

/// Reads a script.
pub(crate) fn script(text: &str) -> Result<Vec<Event>, String> {
    let mut events = Vec::new();
    let mut lines = (1..).zip(text.lines().map(without_comment));
    while let Some((line, content)) = lines.next() {
        let Some((when, rest)) = content.trim().split_once(char::is_whitespace) else {
            if content.trim().is_empty() {
                continue;
            }
            return Err(format!("line {line}: a time and nothing else"));
        };
        let mut rest = rest.trim().to_owned();
        while rest.starts_with("%{") && !rest.contains("}%") {
            let (_, more) = lines.next().ok_or(format!("line {line}: the code does not end"))?;
            rest = format!("{rest}\n{more}");
        }
        events.push(event(line, when, &rest).map_err(|error| format!("line {line}: {error}"))?);
    }
    Ok(events)
}

fn without_comment(line: &str) -> &str {
    line.split_once("//").map_or(line, |(before, _)| before)
}

fn event(line: usize, when: &str, rest: &str) -> Result<Event, String> {
    let (begins, ends) = when.split_once("...").map_or((when, None), |(begins, ends)| (begins, Some(ends)));
    let when = time(begins)?;
    let ends = ends.map(micros).transpose()?;
    let what = match rest.as_bytes()[0] {
        b'<' => What::Inbound(segment(&rest[1..])?),
        b'>' => What::Outbound(segment(&rest[1..])?),
        b'%' => What::Info(assertions(rest)?),
        _ => What::Call(call(rest, ends)?),
    };
    Ok(Event { line, when, what })
}

fn time(text: &str) -> Result<When, String> {
    let Some(relative) = text.strip_prefix('+') else { return micros(text).map(When::At) };
    match relative.split_once("~+") {
        Some((from, to)) => Ok(When::Within(micros(from)?, micros(to)?)),
        None => micros(relative).map(When::After),
    }
}

/// Seconds, with six digits at most behind the point.
fn micros(text: &str) -> Result<i64, String> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{:0>1}{fraction:0<6}", seconds);
    digits.parse().map_err(|_| format!("{text} is no time"))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is no number, or too large"))
}

fn segment(text: &str) -> Result<Segment, String> {
    let (head, options) = match text.split_once('<') {
        Some((head, options)) => (head, options.trim().strip_suffix('>').ok_or("options do not end")?),
        None => (text, ""),
    };
    let mut words = head.split_whitespace();
    let flags = words.next().ok_or("a segment has flags")?.to_owned();
    let (range, len) = words.next().and_then(|seq| seq.strip_suffix(')')?.split_once('(')).ok_or("it has numbers")?;
    let (seq, end) = range.split_once(':').ok_or("it has two numbers")?;
    let mut segment = Segment { flags, seq: number(seq)?, len: number(len)?, ..Segment::default() };
    if segment.seq.wrapping_add(segment.len) != number(end)? {
        return Err(format!("{range} are not {len} bytes"));
    }
    while let Some(name) = words.next() {
        let value = words.next().ok_or(format!("{name} of what?"))?;
        match name {
            "ack" => segment.ack = Some(number(value)?),
            "win" => segment.window = Some(number(value)?),
            _ => return Err(format!("{name} is not known")),
        }
    }
    let list = options.split(',').map(|option| option.trim().to_owned()).filter(|option| !option.is_empty());
    segment.options = (options != "...").then(|| list.collect());
    Ok(segment)
}

fn assertions(text: &str) -> Result<Vec<Assertion>, String> {
    let code = text.trim_start_matches("%{").trim_end().trim_end_matches("}%");
    code.lines().map(str::trim).filter(|line| !line.is_empty()).map(assertion).collect()
}

fn assertion(line: &str) -> Result<Assertion, String> {
    let claim = line.strip_prefix("assert ").ok_or("code asserts")?.split(',').next().unwrap_or_default();
    let [name, relation, value] = claim.split_whitespace().collect::<Vec<_>>()[..] else {
        return Err(format!("{claim} is not a name, a relation and a value"));
    };
    Ok(Assertion { name: name.to_owned(), relation: relation.to_owned(), value: value.to_owned() })
}

fn call(text: &str, ends: Option<i64>) -> Result<Call, String> {
    let (name, rest) = text.split_once('(').ok_or("that is no call")?;
    let mut depth = 1;
    let end = rest.char_indices().find(|(_, letter)| {
        depth += i32::from(*letter == '(') - i32::from(*letter == ')');
        depth == 0
    });
    let (end, _) = end.ok_or("the call does not end")?;
    let told = rest[end + 1..].trim().strip_prefix('=').ok_or("a call has a result")?;
    let mut words = told.split_whitespace();
    let result = words.next().ok_or("a call has a result")?.to_owned();
    let error = words.next().filter(|word| word.starts_with('E')).map(str::to_owned);
    Ok(Call { name: name.trim().to_owned(), arguments: arguments(&rest[..end])?, result, error, ends })
}

/// What is separated by commas, but for those in brackets.
fn arguments(text: &str) -> Result<Vec<Argument>, String> {
    let mut depth = 0;
    let parts = text.split(|letter| {
        depth += i32::from("[{(".contains(letter)) - i32::from("]})".contains(letter));
        letter == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).map(argument).collect()
}

fn argument(text: &str) -> Result<Argument, String> {
    let inside = |open, close| text.strip_prefix(open).and_then(|rest: &str| rest.strip_suffix(close));
    if text == "..." {
        Ok(Argument::Ellipsis)
    } else if let Some(list) = inside('[', ']') {
        arguments(list).map(Argument::List)
    } else if let Some(members) = inside('{', '}') {
        let member = |part: &str| {
            let (name, value) = part.split_once('=').ok_or(format!("{part} has no value"))?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        };
        members.split(',').map(member).collect::<Result<_, String>>().map(Argument::Members)
    } else {
        Ok(Argument::Word(text.to_owned()))
    }
}

impl Call {
    /// An argument that is a word.
    pub(crate) fn word(&self, index: usize) -> Result<&str, String> {
        match self.arguments.get(index) {
            Some(Argument::Word(word)) => Ok(word),
            other => Err(format!("{} wants a word, not {other:?}", self.name)),
        }
    }
}

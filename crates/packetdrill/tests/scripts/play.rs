//! Playing a script: calls and packets at their times, on the plug-in's clock.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use super::calls::{Caller, Outcome};
use super::numbers::{member, value};
use super::parse::{Assertion, Call, Event, Segment, What, When};
use super::plug_in;
use super::wire::{Sent, Wire};

/// So far from its time a packet or the end of a call may be, in microseconds.
const TOLERANCE: i64 = 4_000;

/// Each question for the time takes a microsecond, by which the ends of calls are late.
const SLACK: i64 = 500;

/// A thread that does not get anywhere in this time, looked at in such steps, is stuck.
const PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(1);

const OURS_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
const THEIRS_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OURS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1);
const THEIRS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 1);
const PORT: u16 = 8_080;
const PEER_PORT: u16 = 40_000;

/// A call that waits in its thread, and until when it is to.
struct Waiting {
    call: Call,
    ends: i64,
    told: Receiver<(Result<Outcome, String>, i64)>,
}

struct Player {
    caller: Caller,
    wire: Wire,
    /// When the script began.
    began: i64,
    /// When the last event was, unless that was only known roughly.
    anchor: Option<i64>,
    /// The newest connection.
    newest: Option<c_int>,
    waiting: Option<Waiting>,
}

/// Plays a script, over IPv6 or IPv4; once in a process. Answers the first difference.
pub(crate) fn play(events: &[Event], is_v6: bool) -> Result<(), String> {
    let (ours, theirs, flags): (IpAddr, IpAddr, &str) = if is_v6 {
        (OURS_V6.into(), THEIRS_V6.into(), "ipv6=fd00:1::1/64,mtu=1520")
    } else {
        (OURS_V4.into(), THEIRS_V4.into(), "ipv4=192.168.0.1/16")
    };
    let host = plug_in::load(flags);
    let (ours, theirs) = (SocketAddr::new(ours, PORT), SocketAddr::new(theirs, PEER_PORT));
    let mut player = Player {
        caller: Caller { host, ours, theirs, fds: BTreeMap::new() },
        wire: Wire::new(ours, theirs),
        began: host.micros(),
        anchor: Some(0),
        newest: None,
        waiting: None,
    };
    for event in events {
        player.event(event).map_err(|error| format!("line {}: {error}", event.line))?;
    }
    // No more time passes.
    player.end_waiting().map_err(|error| format!("at the end: {error}"))
}

impl Player {
    fn now(&self) -> i64 {
        self.caller.host.micros() - self.began
    }

    fn pass_to(&self, time: i64) {
        let rest = u32::try_from(time - self.now()).unwrap_or(0);
        (self.caller.host.functions.usleep)(self.caller.host.data(), rest);
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let base = self.anchor.unwrap_or_else(|| self.now());
        let (from, to) = match event.when {
            When::At(time) => (time, time),
            When::After(time) => (base + time, base + time),
            When::Within(from, to) => {
                let now = self.now();
                (now + from, now + to)
            }
        };
        match &event.what {
            What::Outbound(segment) => self.outbound(segment, from, to)?,
            What::Inbound(segment) => {
                self.pass_to(from);
                let packet = self.wire.packet(segment)?;
                let functions = self.caller.host.functions;
                (functions.netdev_send)(self.caller.host.data(), packet.as_ptr().cast(), packet.len());
            }
            What::Call(call) => {
                self.pass_to(from);
                self.pass_to(self.waiting.as_ref().map_or(0, |waiting| waiting.ends + SLACK));
                self.end_waiting()?;
                match call.ends {
                    Some(ends) => self.begin_waiting(call, base + ends)?,
                    None => self.done(call, self.caller.perform(call)?)?,
                }
            }
            What::Info(assertions) => {
                self.pass_to(from);
                self.look(assertions)?;
            }
        }
        self.anchor = (from == to).then_some(from);
        Ok(())
    }

    /// The next packets of ours, as many as make a segment of the script: it may be cut.
    fn outbound(&mut self, segment: &Segment, from: i64, to: i64) -> Result<(), String> {
        let mut before = 0;
        loop {
            let sent = self.sniff()?;
            self.wire.learn(&sent, segment);
            self.wire.compare(&sent, before, segment)?;
            if sent.at < from - TOLERANCE || sent.at > to + TOLERANCE {
                return Err(format!("it was sent at {} µs, not at {from}..{to}", sent.at));
            }
            before += sent.len;
            if before > segment.len {
                return Err(format!("{before} bytes were sent, not {}", segment.len));
            } else if before == segment.len {
                return Ok(());
            }
        }
    }

    fn sniff(&self) -> Result<Sent, String> {
        let (mut bytes, mut at) = ([0_u8; 4_096], 0);
        let mut len = bytes.len();
        let receive = self.caller.host.functions.netdev_receive;
        receive(self.caller.host.data(), bytes.as_mut_ptr().cast(), &mut len, &mut at);
        if len == 0 {
            return Err("nothing was sent".to_owned());
        }
        self.wire.read(at - self.began, &bytes[..len])
    }

    /// Compares what came of a call, and takes note of a new descriptor.
    fn done(&mut self, call: &Call, outcome: Outcome) -> Result<(), String> {
        if matches!(call.name.as_str(), "socket" | "accept") && outcome.result >= 0 {
            let fd = c_int::try_from(outcome.result).map_err(|error| error.to_string())?;
            self.caller.fds.insert(value(&call.result)?, fd);
            self.newest = Some(fd);
            return Ok(());
        }
        let error = call.error.as_deref().map_or(Ok(0), value)?;
        let wanted = Outcome { result: value(&call.result)?, error: error.try_into().unwrap_or(0) };
        if outcome == wanted { Ok(()) } else { Err(format!("{} came to {outcome:?}, not {wanted:?}", call.name)) }
    }

    /// Has a thread call, and waits until it waits.
    fn begin_waiting(&mut self, call: &Call, ends: i64) -> Result<(), String> {
        let (caller, copy) = (self.caller.clone(), call.clone());
        let (tell_id, id) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            // SAFETY: it takes nothing and answers a number.
            let _ = tell_id.send(unsafe { libc::gettid() });
            let outcome = caller.perform(&copy);
            // Time stands still until it has asked.
            let _ = tell.send((outcome, caller.host.micros()));
        });
        let id = id.recv().map_err(|error| error.to_string())?;
        let mut looks = 0;
        for _ in 0..PATIENCE.as_millis() {
            let state = fs::read_to_string(format!("/proc/self/task/{id}/stat")).unwrap_or_default();
            // Behind the name, in brackets. A thread that is gone does not wait.
            let sleeps = state.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('S'));
            looks = if sleeps { looks + 1 } else { 0 };
            if looks == 2 || state.is_empty() {
                self.waiting = Some(Waiting { call: call.clone(), ends, told });
                return Ok(());
            }
            thread::sleep(STEP);
        }
        Err(format!("{} does not begin to wait", call.name))
    }

    /// A call that waits has ended, or ends at its time.
    fn end_waiting(&mut self) -> Result<(), String> {
        let Some(waiting) = self.waiting.take() else { return Ok(()) };
        let told = waiting.told.recv_timeout(PATIENCE);
        let (outcome, ended) = told.map_err(|_| format!("{} does not end", waiting.call.name))?;
        self.done(&waiting.call, outcome?)?;
        let late = ended - self.began - waiting.ends;
        if late.abs() > TOLERANCE {
            return Err(format!("{} ended {late} µs after its time", waiting.call.name));
        }
        Ok(())
    }

    fn look(&self, assertions: &[Assertion]) -> Result<(), String> {
        let info = self.caller.info(self.newest.ok_or("there is no socket")?)?;
        for Assertion { name, relation, value: text } in assertions {
            let (found, wanted) = (member(&info, name)?, value(text)?);
            let holds = match relation.as_str() {
                "==" => found == wanted,
                "!=" => found != wanted,
                "<=" => found <= wanted,
                ">=" => found >= wanted,
                "<" => found < wanted,
                ">" => found > wanted,
                _ => return Err(format!("{relation} is not known")),
            };
            if !holds {
                return Err(format!("{name} is {found}, not {relation} {wanted}"));
            }
        }
        Ok(())
    }
}

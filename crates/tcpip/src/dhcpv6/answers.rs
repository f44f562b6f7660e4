//! What servers say.

use alloc::boxed::Box;

use sunstar_wire::dhcpv6::{Code, Kind, Message, Status};

use super::lease::{Verdict, server_of};
use super::timing::{self, Exchange};
use super::{Client, Lease, MAX_OFFERS, Offer, Output, State};
use crate::time::Instant;

/// RFC 8415 §18.2.1: who says this is not compared with others.
const FIRST_CHOICE: u8 = 255;

impl Client {
    /// A message has come to the client's port.
    pub fn handle_message(&mut self, now: Instant, message: &Message<'_>) {
        let taken = match (self.exchange, message.kind()) {
            (Some(exchange), Kind::Advertise | Kind::Reply) if self.is_ours(&exchange, message) => {
                self.believe_times(message);
                self.take(now, &exchange, message)
            }
            _ => None,
        };
        match taken {
            Some(()) => self.counters.received += 1,
            None => self.counters.ignored += 1,
        }
    }

    /// RFC 8415 §16.3, §16.10. A client that was told nothing may be told nothing of who it is.
    fn is_ours(&self, exchange: &Exchange, message: &Message<'_>) -> bool {
        if planted::is("dhcpv6_any_answer") {
            return true;
        }
        let duid = message.options().find_code(Code::CLIENT_ID);
        let is_meant =
            duid == Some(&self.options.duid[..]) || (duid.is_none() && exchange.kind == Kind::InformationRequest);
        exchange.transaction_id == message.transaction_id() && is_meant && server_of(message).is_some()
    }

    /// RFC 8415 §18.2.9, §21.24, §21.25: also of answers that give nothing else.
    fn believe_times(&mut self, message: &Message<'_>) {
        let options = message.options();
        self.sol_max_rt = timing::max_rt(options.number(Code::SOL_MAX_RT)).unwrap_or(self.sol_max_rt);
        self.inf_max_rt = timing::max_rt(options.number(Code::INF_MAX_RT)).unwrap_or(self.inf_max_rt);
    }

    /// Answers whether it was of any use.
    fn take(&mut self, now: Instant, exchange: &Exchange, message: &Message<'_>) -> Option<()> {
        match (message.kind(), self.state) {
            (Kind::Advertise, State::Soliciting) => self.on_advertise(now, exchange, message),
            (Kind::Reply, State::Soliciting) => {
                // §18.2.10: who has not understood that must not be believed to have given anything.
                message.options().find_code(Code::RAPID_COMMIT)?;
                self.on_given(now, exchange, message)
            }
            (Kind::Reply, State::Requesting) => {
                self.is_from_wanted(message)?;
                self.on_given(now, exchange, message)
            }
            (Kind::Reply, State::Renewing | State::Rebinding) => self.on_prolonged(now, exchange, message),
            (Kind::Reply, State::Releasing) => {
                self.is_from_wanted(message)?;
                self.rest();
                Some(())
            }
            (Kind::Reply, State::Declining) => {
                self.is_from_wanted(message)?;
                self.end_declining(now);
                Some(())
            }
            (Kind::Reply, State::Informing) => self.on_information(now, message),
            _ => None,
        }
    }

    fn is_from_wanted(&self, message: &Message<'_>) -> Option<()> {
        self.wanted.as_ref().filter(|wanted| Some(&wanted.server[..]) == server_of(message)).map(|_| ())
    }

    /// §18.2.9.
    fn on_advertise(&mut self, now: Instant, exchange: &Exchange, message: &Message<'_>) -> Option<()> {
        let (lease, verdict) = Lease::read(message, self.options.iaid, now)?;
        let is_good = message.options().status() == Status::SUCCESS;
        if !matches!(verdict, Verdict::Given) || !is_good {
            self.counters.refused += 1;
            return None;
        }
        let preference = match message.options().find_code(Code::PREFERENCE) {
            Some([preference]) => *preference,
            _ => 0,
        };
        if self.offers.iter().any(|other| other.lease.server == lease.server) {
            return None;
        }
        let place = self.offers.partition_point(|other| other.preference >= preference);
        self.offers.insert(place, Offer { preference, lease: Box::new(lease) });
        self.offers.truncate(MAX_OFFERS);
        // §18.2.1: all servers have a second; who answers later is taken as he comes.
        if preference == FIRST_CHOICE || exchange.count > 1 {
            self.choose(now);
        }
        Some(())
    }

    /// §18.2.10.1: addresses are given, or not.
    fn on_given(&mut self, now: Instant, exchange: &Exchange, message: &Message<'_>) -> Option<()> {
        let since = if planted::is("dhcpv6_lease_from_answer") { now } else { exchange.asked_at };
        let (lease, verdict) = Lease::read(message, self.options.iaid, since)?;
        let whole = message.options().status();
        match (whole, verdict) {
            // He is busy: he is asked again when it is time.
            (Status::UNSPECIFIED_FAILURE | Status::USE_MULTICAST, _) => {
                self.counters.refused += 1;
                None
            }
            (Status::SUCCESS, Verdict::Given) => {
                self.bind(now, lease);
                Some(())
            }
            // Of no rapid answer anything follows: others may offer something.
            _ if self.state == State::Soliciting => {
                self.counters.refused += 1;
                None
            }
            (status, verdict) => {
                self.counters.refused += 1;
                let is_elsewhere =
                    status == Status::NOT_ON_LINK || matches!(verdict, Verdict::Refused(Status::NOT_ON_LINK));
                if is_elsewhere {
                    // What it would like to have is of another link.
                    self.options.hints.clear();
                    self.offers.clear();
                }
                self.choose(now);
                Some(())
            }
        }
    }

    fn on_prolonged(&mut self, now: Instant, exchange: &Exchange, message: &Message<'_>) -> Option<()> {
        let old = self.lease.as_ref()?;
        let is_server = self.state == State::Rebinding || Some(&old.server[..]) == server_of(message);
        if !is_server {
            return None;
        }
        let (mut new, verdict) = Lease::read(message, self.options.iaid, exchange.asked_at)?;
        match (message.options().status(), verdict) {
            (Status::SUCCESS, Verdict::Given) => {
                new.keep(now, old);
                self.bind(now, new);
                Some(())
            }
            // §18.2.10.1: he has forgotten us, but may give us the same.
            (Status::SUCCESS | Status::NO_BINDING, Verdict::Refused(Status::NO_BINDING)) => {
                self.counters.refused += 1;
                new.addresses.clone_from(&old.addresses);
                self.wanted = Some(Box::new(new));
                self.ask(now, Kind::Request, State::Requesting);
                Some(())
            }
            _ => {
                self.counters.refused += 1;
                None
            }
        }
    }

    /// §18.2.10.4.
    fn on_information(&mut self, now: Instant, message: &Message<'_>) -> Option<()> {
        if message.options().status() != Status::SUCCESS {
            self.counters.refused += 1;
            return None;
        }
        let refresh = timing::refresh(message.options().number(Code::INFORMATION_REFRESH_TIME));
        let lease = Box::new(Lease::information(message));
        self.counters.leases += 1;
        self.output.push_back(Output::Bound(lease.clone()));
        self.lease = Some(lease);
        (self.state, self.exchange, self.failures) = (State::Informed, None, 0);
        self.due = refresh.map(|refresh| now + refresh);
        Some(())
    }

    /// The host has this from now on, as far as its time is not over.
    fn bind(&mut self, now: Instant, mut lease: Lease) {
        lease.age(now);
        self.offers.clear();
        self.wanted = None;
        if lease.addresses.is_empty() {
            self.lose(now);
            return self.start_over(now);
        }
        self.counters.leases += 1;
        self.bound_at = self.bound_at.or(Some(now));
        self.options.hints = lease.addresses.iter().map(|address| address.address).collect();
        let lease = Box::new(lease);
        self.output.push_back(Output::Bound(lease.clone()));
        self.lease = Some(lease);
        self.use_lease();
    }
}

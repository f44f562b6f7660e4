//! The handlers of one pattern.

use alloc::boxed::Box;
use alloc::string::String;

use sunstar_executor::ErasedFuture;
use sunstar_http1::{Method, Request};

use crate::error::Error;
use crate::exchange::Exchange;
use crate::handler::Handler;

/// What a handler of any type answers.
pub(super) type Answering<'a> = ErasedFuture<'a, Result<(), Error>>;

/// A handler of any type.
pub(super) trait AnyHandler {
    fn call<'a>(&'a self, request: Request, exchange: &'a mut Exchange<'_>) -> Answering<'a>;
}

impl<H: Handler> AnyHandler for H {
    fn call<'a>(&'a self, request: Request, exchange: &'a mut Exchange<'_>) -> Answering<'a> {
        ErasedFuture::new(self.handle(request, exchange))
    }
}

/// The methods with names, in the order in which `Allow` tells them.
const NAMES: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"];

const GET: u8 = 1;
const HEAD: u8 = 1 << 1;
const OPTIONS: u8 = 1 << 5;

/// Methods, a bit for each, at the place of its name.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Allowed(u8);

impl Allowed {
    /// Adds others.
    pub(super) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// As `Allow` tells them (RFC 9110 §10.2.1). `HEAD` is there with `GET`, and `OPTIONS` always.
    pub(super) fn value(self) -> String {
        let mut value = String::new();
        let free = OPTIONS | if self.0 & GET != 0 { HEAD } else { 0 };
        for (_, name) in NAMES.iter().enumerate().filter(|(index, _)| (self.0 | free) >> index & 1 != 0) {
            if !value.is_empty() {
                value.push_str(", ");
            }
            value.push_str(name);
        }
        value
    }
}

fn index(method: Method) -> Option<usize> {
    Some(match method {
        Method::Get => 0,
        Method::Head => 1,
        Method::Post => 2,
        Method::Put => 3,
        Method::Delete => 4,
        Method::Options => 5,
        Method::Patch => 6,
        Method::Trace => 7,
        Method::Other => return None,
    })
}

/// The handlers of one pattern, by method.
#[derive(Default)]
pub(super) struct Methods {
    handlers: [Option<Box<dyn AnyHandler>>; NAMES.len()],
    any: Option<Box<dyn AnyHandler>>,
    /// The value of `Allow`.
    allow: String,
}

impl Methods {
    /// Adds a handler for a method that has a name, or for all that have no handler of their own. If there is one already, the
    /// answer names what it is for.
    pub(super) fn add(&mut self, method: Option<Method>, handler: Box<dyn AnyHandler>) -> Result<(), &'static str> {
        let (place, name) = match method.and_then(index) {
            Some(index) => (&mut self.handlers[index], NAMES[index]),
            None => (&mut self.any, "a handler of any method"),
        };
        if place.is_some() {
            return Err(name);
        }
        *place = Some(handler);
        self.allow = self.allowed().value();
        Ok(())
    }

    /// The handler of a method. That of `GET` answers `HEAD` too.
    #[inline]
    pub(super) fn handler(&self, method: Method) -> Option<&dyn AnyHandler> {
        let own = index(method).and_then(|index| self.handlers[index].as_deref());
        own.or_else(|| self.substitute(method))
    }

    fn substitute(&self, method: Method) -> Option<&dyn AnyHandler> {
        let get = if method == Method::Head { self.handlers[0].as_deref() } else { None };
        get.or(self.any.as_deref())
    }

    /// The methods that have handlers of their own.
    pub(super) fn allowed(&self) -> Allowed {
        let bits = self.handlers.iter().enumerate().filter(|(_, handler)| handler.is_some());
        Allowed(bits.fold(0, |bits, (index, _)| bits | 1 << index))
    }

    /// The value of `Allow`.
    pub(super) fn allow(&self) -> &str {
        &self.allow
    }
}

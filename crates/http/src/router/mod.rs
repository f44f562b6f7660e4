//! Which handler answers which request.

mod methods;
mod params;
mod pattern;
mod percent;
mod trie;

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use sunstar_http1::{HeaderName, Method, Request, Status};
use sunstar_packet::Buffer;

use crate::error::{Error, Handled};
use crate::exchange::Exchange;
use crate::handler::Handler;

pub use params::{ParamError, Params};
pub use pattern::{MAX_PARAMETERS, MAX_SEGMENTS, RouteError, RouteRule};

use methods::{Allowed, Answering, AnyHandler, Methods};
use params::Label;
use pattern::Pattern;
use trie::{Node, Spans};

/// Paths of more bytes fit nothing; no request has one.
const MAX_PATH_BYTES: usize = u16::MAX as usize;

/// Hands requests to handlers by path and method. It is a [`Handler`] itself.
///
/// ```
/// use sunstar_http::{Error, Exchange, Request, Router, Server, Status};
///
/// async fn user(_: Request, exchange: &mut Exchange<'_>) -> Result<(), Error> {
///     let params = exchange.params().expect("it is called by a router");
///     let id = params.get("id")?;
///     exchange.respond(Status::OK)?.send(format!("you asked for {id}").into_bytes());
///     Ok(())
/// }
///
/// let mut router = Router::new();
/// router
///     .get("/", async |_: Request, exchange: &mut Exchange<'_>| -> Result<(), Error> {
///         exchange.respond(Status::OK)?.send("hello, world");
///         Ok(())
///     })?
///     .get("/users/{id}", user)?;
/// assert_eq!(router.find("/users/4%32").unwrap().get("id").unwrap(), "42");
/// let server = Server::new(router);
/// # Ok::<(), sunstar_http::RouteError>(())
/// ```
///
/// # Patterns
///
/// A pattern is a path whose segments may be
///
/// - exact: `/users/me`;
/// - a parameter, which fits one segment that is not empty: `/users/{id}`;
/// - at the end, a remainder, which fits all that follows, slashes and nothing included: `/files/{path...}` fits `/files/` and
///   `/files/a/b`, but not `/files`.
///
/// Where several patterns fit a path, the one wins that is the more exact at the first segment in which they differ: an exact
/// segment before a parameter, a parameter before a remainder. The order of registration does not matter. What was begun exactly
/// and fits nothing in the end is tried with the less exact ones.
///
/// The path alone chooses the pattern, then comes the method: with `POST /users/me` and `GET /users/{id}`, `GET /users/me` is
/// answered by 405.
///
/// # What is compared
///
/// The path is split at its slashes, and only then decoded, segment by segment: `/%75sers` is `/users`, but `%2F` is a part of its
/// segment. Nothing else is made the same: upper and lower case, `/users` and `/users/`, `//`, and segments of dots are what they are,
/// and the latter come to handlers in parameters. Whoever turns a parameter into the name of a file must be prepared for `..`, for
/// encoded slashes, and for zero bytes.
///
/// # What is answered without a handler
///
/// - A path that fits no pattern: 404, or what the [default handler](Self::default_handler) says.
/// - A method that the pattern has no handler for: 405, with `Allow`. `HEAD` goes to the handler of `GET`; the body that it sends is
///   left out.
/// - `OPTIONS`: 204, with `Allow`. For `OPTIONS *` that is the methods of all patterns.
/// - A parameter with a percent sign that begins no encoding: 400.
///
/// Finding a handler takes no memory, and time in proportion to the path: each of its segments is looked at once for each pattern
/// that fits the path before it.
#[derive(Default)]
pub struct Router {
    root: Node<Entry>,
    default: Option<Box<dyn AnyHandler>>,
    /// `Allow` for all patterns.
    allow: String,
}

/// What a pattern leads to.
struct Entry {
    label: Rc<Label>,
    methods: Methods,
}

impl Router {
    /// Without routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets a handler answer `GET` and `HEAD`.
    ///
    /// # Errors
    /// As for [`Router::route`].
    pub fn get(&mut self, pattern: &str, handler: impl Handler + 'static) -> Result<&mut Self, RouteError> {
        self.route(Method::Get, pattern, handler)
    }

    /// Lets a handler answer `POST`.
    ///
    /// # Errors
    /// As for [`Router::route`].
    pub fn post(&mut self, pattern: &str, handler: impl Handler + 'static) -> Result<&mut Self, RouteError> {
        self.route(Method::Post, pattern, handler)
    }

    /// Lets a handler answer `PUT`.
    ///
    /// # Errors
    /// As for [`Router::route`].
    pub fn put(&mut self, pattern: &str, handler: impl Handler + 'static) -> Result<&mut Self, RouteError> {
        self.route(Method::Put, pattern, handler)
    }

    /// Lets a handler answer `DELETE`.
    ///
    /// # Errors
    /// As for [`Router::route`].
    pub fn delete(&mut self, pattern: &str, handler: impl Handler + 'static) -> Result<&mut Self, RouteError> {
        self.route(Method::Delete, pattern, handler)
    }

    /// Lets a handler answer a method.
    ///
    /// # Errors
    /// If the pattern is malformed, the method has a handler there already, or another pattern fits the same paths with other names.
    /// Nothing is added then.
    pub fn route(
        &mut self,
        method: Method,
        pattern: &str,
        handler: impl Handler + 'static,
    ) -> Result<&mut Self, RouteError> {
        self.add(Some(method), pattern, Box::new(handler))
    }

    /// Lets a handler answer all methods that have none of their own there, `OPTIONS` and those without a name included.
    ///
    /// # Errors
    /// As for [`Router::route`].
    pub fn any(&mut self, pattern: &str, handler: impl Handler + 'static) -> Result<&mut Self, RouteError> {
        self.add(None, pattern, Box::new(handler))
    }

    /// Lets a handler answer what fits no pattern, in place of 404.
    pub fn default_handler(&mut self, handler: impl Handler + 'static) -> &mut Self {
        self.default = Some(Box::new(handler));
        self
    }

    /// The pattern that fits a path, and the values of its parameters. The path is as it comes in requests, without query.
    pub fn find(&self, path: impl Into<Buffer>) -> Option<Params> {
        let path = path.into();
        let (entry, spans) = self.lookup(&path)?;
        Some(Params::new(&entry.label, path, spans))
    }

    fn add(
        &mut self,
        method: Option<Method>,
        text: &str,
        handler: Box<dyn AnyHandler>,
    ) -> Result<&mut Self, RouteError> {
        let refuse = |rule| RouteError::new(text, rule);
        let pattern = Pattern::parse(text).map_err(refuse)?;
        if method == Some(Method::Other) {
            return Err(refuse(RouteRule::Method));
        }
        let entry = self.root.place(&pattern.segments).get_or_insert_with(|| {
            let names = pattern.names.clone().into_boxed_slice();
            Entry { label: Rc::new(Label { pattern: text.into(), names }), methods: Methods::default() }
        });
        // Two spellings of the same pattern are one, unless its parameters have other names.
        if *entry.label.names != *pattern.names {
            return Err(refuse(RouteRule::OtherNames(entry.label.pattern.clone())));
        }
        entry.methods.add(method, handler).map_err(|name| refuse(RouteRule::Twice(name)))?;
        let mut allowed = Allowed::default();
        self.root.visit(&mut |entry| allowed.add(entry.methods.allowed()));
        self.allow = allowed.value();
        Ok(self)
    }

    #[inline]
    fn lookup(&self, path: &[u8]) -> Option<(&Entry, Spans)> {
        if path.first() != Some(&b'/') || path.len() > MAX_PATH_BYTES {
            return None;
        }
        let mut spans = Spans::default();
        let entry = self.root.find(path, 1, &mut spans)?;
        Some((entry, spans))
    }

    /// Answers without a handler, or says which one answers.
    fn choose(&self, request: &Request, exchange: &mut Exchange<'_>) -> Result<Option<&dyn AnyHandler>, Error> {
        let path = request.path();
        let Some((entry, spans)) = self.lookup(path) else { return self.miss(request, exchange) };
        let path = if spans.is_empty() { None } else { request.headers().head().slice_of(path) };
        let params = Params::new(&entry.label, path.unwrap_or_default(), spans);
        let is_well_encoded = params.are_well_encoded();
        exchange.set_params(params);
        if !is_well_encoded {
            return refuse(exchange, Status::BAD_REQUEST, None);
        }
        match entry.methods.handler(request.method()) {
            Some(handler) => Ok(Some(handler)),
            None if request.method() == Method::Options => {
                refuse(exchange, Status::NO_CONTENT, Some(entry.methods.allow()))
            }
            None => refuse(exchange, Status::METHOD_NOT_ALLOWED, Some(entry.methods.allow())),
        }
    }

    #[cold]
    fn miss(&self, request: &Request, exchange: &mut Exchange<'_>) -> Result<Option<&dyn AnyHandler>, Error> {
        if request.path() == b"*" {
            return refuse(exchange, Status::NO_CONTENT, Some(&self.allow));
        }
        match self.default.as_deref() {
            Some(handler) => Ok(Some(handler)),
            None => refuse(exchange, Status::NOT_FOUND, None),
        }
    }
}

/// Answers without a handler.
#[cold]
fn refuse<'a>(
    exchange: &mut Exchange<'_>,
    status: Status,
    allow: Option<&str>,
) -> Result<Option<&'a dyn AnyHandler>, Error> {
    let mut response = exchange.respond(status)?;
    if let Some(allow) = allow {
        response.header(HeaderName::ALLOW, allow)?;
    }
    let body = match status {
        Status::NOT_FOUND => "not found\n",
        Status::METHOD_NOT_ALLOWED => "method not allowed\n",
        Status::BAD_REQUEST => "bad request\n",
        _ => "",
    };
    if !body.is_empty() {
        response.header(HeaderName::CONTENT_TYPE, "text/plain")?;
    }
    response.send(body);
    Ok(None)
}

impl Handler for Router {
    #[inline]
    fn handle<'a>(&'a self, request: Request, exchange: &'a mut Exchange<'_>) -> impl Future<Output = Handled> {
        match self.choose(&request, exchange) {
            Ok(Some(handler)) => Routed::Handler(handler.call(request, exchange)),
            Ok(None) => Routed::Answered(Ok(())),
            Err(error) => Routed::Answered(Err(error)),
        }
    }
}

/// A request on its way through its handler, or one that needs none.
enum Routed<'a> {
    Handler(Answering<'a>),
    Answered(Result<(), Error>),
}

impl Future for Routed<'_> {
    type Output = Result<(), Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Handler(answering) => Pin::new(answering).poll(cx),
            Self::Answered(answered) => Poll::Ready(*answered),
        }
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut patterns = f.debug_map();
        self.root.visit(&mut |entry| {
            patterns.entry(&entry.label.pattern, &entry.methods.allow());
        });
        patterns.finish()
    }
}

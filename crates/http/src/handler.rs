//! What answers requests.

use core::future::Future;

use sunstar_http1::Request;

use crate::error::{Error, Handled};
use crate::exchange::Exchange;

/// Answers requests: a function, a closure, or a [`Router`](crate::Router).
///
/// Every `async fn(Request, &mut Exchange<'_>) -> Result<(), Error>` is one, and so is every `async` closure whose arguments have
/// their types written out.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not answer requests",
    note = "write it as `async |request: Request, exchange: &mut Exchange<'_>| -> Result<(), Error> {{ … }}`"
)]
pub trait Handler {
    /// Answers a request by [`Exchange::respond`]. What is left unanswered is answered by 500.
    ///
    /// Dropping the future gives the request up; the connection ends then.
    ///
    /// # Errors
    /// What ends the connection, except for [`Error::Refused`], which has been answered, and [`Error::Parameter`], which is answered
    /// by 400.
    fn handle<'a>(&'a self, request: Request, exchange: &'a mut Exchange<'_>) -> impl Future<Output = Handled>;
}

impl<F> Handler for F
where
    F: AsyncFn(Request, &mut Exchange<'_>) -> Result<(), Error>,
{
    #[inline]
    fn handle<'a>(&'a self, request: Request, exchange: &'a mut Exchange<'_>) -> impl Future<Output = Handled> {
        self(request, exchange)
    }
}

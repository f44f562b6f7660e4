//! How a connection ends.

use core::future::poll_fn;
use core::time::Duration;

use sunstar_executor::timer::now;
use sunstar_executor::{Instant, maybe_yield};

use super::{Connection, Input};
use crate::error::Error;
use crate::waits::Wait;
use crate::watch::Watch;

/// A client that may still be sending is read from after its last response, so that it sees the response rather than a reset
/// (RFC 9112 §9.6): until it has sent nothing for so long.
const LINGER_STALL: Duration = Duration::from_secs(2);

/// And for so long at most: many clients look for a response only when they have sent all of a body.
const LINGER: Duration = Duration::from_secs(30);

/// So much is left to the stream when the connection ends: it leaves in one segment or a few, together with the end.
pub(super) const LEFT_BYTES: u64 = 16 << 10;

impl Connection {
    /// Closes after the last response.
    ///
    /// # Errors
    /// If the client does not take what is sent.
    pub(super) async fn close(&mut self, watch: &mut Watch<'_>) -> Result<(), Error> {
        // The stream goes on by itself when it is closed, but not for as long as a slow client may take.
        if self.is_long {
            self.writable(watch).await?;
        }
        if !self.lingers || planted::is("no_linger") {
            return Ok(());
        }
        self.stream.shutdown();
        let end = if planted::is("linger_unbounded") { Instant::FAR_FUTURE } else { now() + LINGER };
        loop {
            let mut wait = Wait::until(end.min(now() + LINGER_STALL));
            match poll_fn(|cx| self.poll_input(cx, watch, &mut wait)).await {
                Ok(Input::Bytes(bytes)) if !bytes.is_empty() && now() < end => maybe_yield().await,
                // However it ends, the connection does.
                _ => return Ok(()),
            }
        }
    }
}

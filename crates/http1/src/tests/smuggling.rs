//! What two programs could understand differently is refused (RFC 9112 §11.2).

use super::Script;
use super::refused::{Refused, refused};
use crate::Event;

/// A request is refused however it is split.
fn refuse(request: &Refused) {
    let Refused { section, status, error, bytes } = request;
    for at in 0..bytes.len() {
        let mut script = Script::new();
        let mut events = Vec::new();
        for part in [&bytes[..at], &bytes[at..]] {
            script.send(part);
            while let Some(event) = script.connection.poll_event() {
                events.push(event);
            }
        }
        let text = bytes.escape_ascii();
        match events.pop() {
            Some(Event::Error(found)) => {
                let found = (format!("{found:?}"), found.status().code().to_string());
                assert_eq!((found.0.as_str(), found.1.as_str()), (*error, *status), "{section}: {text} split at {at}");
            }
            other => panic!("{section}: {text} split at {at}: {other:?}, not {error}"),
        }
        assert!(!script.connection.wants_input());
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    refused().iter().for_each(refuse);
}

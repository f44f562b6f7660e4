//! Bytes that come back: over a stream all of them in their order, over datagrams each datagram as it was.

use std::cell::Cell;

use sunstar::packet::Buffer;

use super::numbers::Numbered;
use super::{Heard, Protocol, Verdict};
use crate::fault::Fault;

/// So many datagrams differ from each other.
const NUMBERS: u8 = u8::MAX;

/// The bytes of a message: a pattern, so that what is moved or lost shows.
fn message(len_bytes: usize, number: u8) -> Vec<u8> {
    // 251 is prime, so the pattern repeats where nothing of a network does.
    let pattern = (0..=250).cycle().take(len_bytes);
    let mut message: Vec<u8> = pattern.collect();
    if let Some(first) = message.first_mut() {
        *first = number;
    }
    message
}

/// Over a stream.
pub(crate) struct Echo {
    message: Buffer,
}

/// How many bytes of an answer have come.
#[derive(Default)]
pub(crate) struct Echoed(usize);

impl Echo {
    /// Messages of so many bytes, which `place` puts where they are sent from.
    pub(crate) fn new(len_bytes: usize, place: impl Fn(&[u8]) -> Buffer) -> Self {
        Self { message: place(&message(len_bytes, 0)) }
    }
}

impl Protocol for Echo {
    type Session = Echoed;

    fn session(&self) -> Echoed {
        Echoed::default()
    }

    fn ask(&self, _session: &mut Echoed, count: usize, _is_last: bool, mut send: impl FnMut(Buffer)) {
        (0..count).for_each(|_| send(self.message.clone()));
    }

    fn hear(&self, session: &mut Echoed, bytes: &mut Buffer) -> Result<Heard, Fault> {
        let expected = &self.message[session.0..];
        let consumed_bytes = expected.len().min(bytes.len());
        if bytes[..consumed_bytes] != expected[..consumed_bytes] {
            return Err(Fault::WrongBytes);
        }
        bytes.advance(consumed_bytes);
        session.0 += consumed_bytes;
        if session.0 < self.message.len() || consumed_bytes == 0 {
            return Ok(Heard::More);
        }
        session.0 = 0;
        Ok(Heard::Answer { place: 0, verdict: Verdict::Good, is_last: false })
    }
}

/// Over datagrams. Each has a number, by which an answer is that to one request and to no other.
pub(crate) struct EchoDatagrams {
    messages: Vec<Buffer>,
    next: Cell<u8>,
}

impl EchoDatagrams {
    /// Messages of so many bytes, which `place` puts where they are sent from.
    pub(crate) fn new(len_bytes: usize, place: impl Fn(&[u8]) -> Buffer) -> Self {
        let messages = (0..NUMBERS).map(|number| place(&message(len_bytes, number))).collect();
        Self { messages, next: Cell::new(0) }
    }
}

impl Protocol for EchoDatagrams {
    const IS_ORDERED: bool = false;

    type Session = Numbered<()>;

    fn session(&self) -> Numbered<()> {
        // Sockets that follow each other may have the same port.
        let first = self.next.get();
        self.next.set((first + NUMBERS / 3) % NUMBERS);
        Numbered::new(first.into(), u16::from(NUMBERS) - 1)
    }

    fn ask(&self, session: &mut Numbered<()>, count: usize, _is_last: bool, mut send: impl FnMut(Buffer)) {
        (0..count).for_each(|_| send(self.messages[usize::from(session.ask(()))].clone()));
    }

    fn hear(&self, session: &mut Numbered<()>, bytes: &mut Buffer) -> Result<Heard, Fault> {
        // A datagram is heard as a whole.
        let bytes = std::mem::take(bytes);
        let Some((number, place)) = bytes.first().and_then(|number| Some((*number, session.place((*number).into())?)))
        else {
            return Ok(Heard::More);
        };
        session.answered(place);
        let is_whole = bytes == self.messages[usize::from(number)][..];
        let verdict = if is_whole { Verdict::Good } else { Verdict::Bad(Fault::WrongBytes) };
        Ok(Heard::Answer { place, verdict, is_last: false })
    }

    fn forget(&self, session: &mut Numbered<()>) {
        session.forget(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent<P: Protocol>(protocol: &P, session: &mut P::Session, count: usize) -> Vec<Buffer> {
        let mut sent = Vec::new();
        protocol.ask(session, count, false, |buffer| sent.push(buffer));
        sent
    }

    #[test]
    fn a_stream_echoes_in_any_pieces() {
        let echo = Echo::new(600, Buffer::copy_from_slice);
        for piece_bytes in [1, 7, 600, 1800] {
            let mut session = echo.session();
            let bytes: Vec<u8> = sent(&echo, &mut session, 3).concat();
            let mut answers = 0;
            for piece in bytes.chunks(piece_bytes) {
                let mut piece = Buffer::copy_from_slice(piece);
                while echo.hear(&mut session, &mut piece).unwrap() != Heard::More {
                    answers += 1;
                }
            }
            assert_eq!(answers, 3);
        }
        assert_eq!(echo.hear(&mut echo.session(), &mut Buffer::from_static(b"\x00\x02")), Err(Fault::WrongBytes));
    }

    fn answer(place: usize, verdict: Verdict) -> Result<Heard, Fault> {
        Ok(Heard::Answer { place, verdict, is_last: false })
    }

    #[test]
    fn a_datagram_is_the_answer_to_its_own_request_whatever_is_lost_and_overtaken() {
        let echo = EchoDatagrams::new(10, Buffer::copy_from_slice);
        let mut session = echo.session();
        for _ in 0..100 {
            let [first, second, third, fourth] = &sent(&echo, &mut session, 4)[..] else {
                panic!("four were asked for")
            };
            assert_eq!(echo.hear(&mut session, &mut third.clone()), answer(2, Verdict::Good));
            assert_eq!(echo.hear(&mut session, &mut second.clone()), answer(1, Verdict::Good));
            // The first one is given up, and comes then.
            echo.forget(&mut session);
            assert_eq!(echo.hear(&mut session, &mut first.clone()), Ok(Heard::More));
            assert_eq!(echo.hear(&mut session, &mut fourth.clone()), answer(0, Verdict::Good));
        }
    }

    #[test]
    fn a_late_datagram_is_nobodys_answer() {
        let echo = EchoDatagrams::new(10, Buffer::copy_from_slice);
        let mut session = echo.session();
        for round in 0..1000 {
            let [first, second] = &sent(&echo, &mut session, 2)[..] else { panic!("two were asked for") };
            assert_eq!(echo.hear(&mut session, &mut first.clone()), answer(0, Verdict::Good), "{round}");
            assert_eq!(echo.hear(&mut session, &mut first.clone()), Ok(Heard::More));
            assert_eq!(echo.hear(&mut session, &mut second.clone()), answer(0, Verdict::Good));
        }
        let [message] = &sent(&echo, &mut session, 1)[..] else { panic!("one was asked for") };
        assert_eq!(echo.hear(&mut session, &mut message.slice(..9)), answer(0, Verdict::Bad(Fault::WrongBytes)));
    }
}

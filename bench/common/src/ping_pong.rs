//! Two tasks that wake each other in turn.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Where two tasks meet: whose turn it is, and who waits for it.
#[derive(Debug, Default)]
pub struct Table {
    turn: Cell<usize>,
    waiting: [RefCell<Option<Waker>>; 2],
}

/// Waits until it is the turn of `player`.
struct Turn<'a> {
    table: &'a Table,
    player: usize,
}

impl Future for Turn<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.table.turn.get() == self.player {
            return Poll::Ready(());
        }
        self.table.waiting[self.player].replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

/// Plays `count` rounds as player 0 or 1.
pub async fn play(table: Rc<Table>, player: usize, count: u64) {
    let other = 1 - player;
    for _ in 0..count {
        Turn { table: &table, player }.await;
        table.turn.set(other);
        if let Some(waker) = table.waiting[other].take() {
            waker.wake();
        }
    }
}

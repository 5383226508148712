//! Departures: connections whose peers have gone hear of it a few at a time, so that all others have their turn
//! in between, even when ten thousand go in the same moment.

use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::task::yield_now;

/// How many hear of it before others have their turn. What the end of a session takes is some 60 µs, so that is
/// a millisecond.
const TOGETHER: usize = 16;

/// Where connections whose peers have gone wait for their turn.
#[derive(Clone, Debug)]
pub struct Departures(mpsc::UnboundedSender<oneshot::Sender<()>>);

/// Those who wait, in the order in which their peers have gone; each of them once.
pub struct Departing(mpsc::UnboundedReceiver<oneshot::Sender<()>>);

/// A connection that waits for its turn, and what it will hear then.
#[derive(Debug)]
pub(super) struct Departure {
    turn: oneshot::Receiver<()>,
    outcome: io::Result<()>,
}

impl Departures {
    /// A place to wait, and those who will.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "each connection is in it once at the most")]
    pub fn new() -> (Self, Departing) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), Departing(receiver))
    }

    /// Waits there to hear of `outcome`.
    pub(super) fn wait(&self, outcome: io::Result<()>) -> Departure {
        let (sender, turn) = oneshot::channel();
        // When nobody sees to it any more, it is its turn at once.
        let _ = self.0.send(sender);
        Departure { turn, outcome }
    }
}

impl Departing {
    /// Calls up those who wait, for as long as there are connections.
    pub async fn see_off(mut self) {
        let mut some = Vec::new();
        while self.0.recv_many(&mut some, TOGETHER).await > 0 {
            for turn in some.drain(..) {
                // Who has been dropped meanwhile does not wait any more.
                let _ = turn.send(());
            }
            yield_now().await;
        }
    }
}

impl Departure {
    /// What is to be heard, once it is its turn.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.turn).poll(cx).map(|_| std::mem::replace(&mut self.outcome, Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;

    use super::*;

    #[tokio::test]
    async fn others_have_their_turn_in_between() {
        let (departures, departing) = Departures::new();
        let gone = Arc::new(AtomicUsize::new(0));
        for number in 0..10 * TOGETHER {
            let mut departure =
                departures.wait(if number == 0 { Ok(()) } else { Err(io::ErrorKind::Other.into()) });
            let gone = gone.clone();
            tokio::spawn(async move {
                let outcome = std::future::poll_fn(|cx| departure.poll(cx)).await;
                assert_eq!(gone.fetch_add(1, SeqCst), number);
                assert_eq!(outcome.is_ok(), number == 0);
            });
        }
        yield_now().await;
        assert_eq!(gone.load(SeqCst), 0, "nobody has called anyone up");
        tokio::spawn(departing.see_off());
        let mut seen = 0;
        while seen < 10 * TOGETHER {
            yield_now().await;
            let now = gone.load(SeqCst);
            assert!(now <= seen + TOGETHER, "{seen}, and then {now}");
            seen = now;
        }
    }

    #[tokio::test]
    async fn nobody_waits_where_nobody_is_called_up() {
        let (departures, departing) = Departures::new();
        let mut before = departures.wait(Err(io::ErrorKind::ConnectionReset.into()));
        drop(departing);
        let mut after = departures.wait(Ok(()));
        let outcome = std::future::poll_fn(|cx| before.poll(cx)).await;
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(std::future::poll_fn(|cx| after.poll(cx)).await.is_ok());
    }
}

//! Queues between the event path and the relay, bounded in messages and in bytes.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use metrics::Gauge;
use tokio::sync::mpsc;

/// Where messages are put.
#[derive(Debug)]
pub(super) struct Sender<T> {
    queue: mpsc::Sender<(usize, T)>,
    bytes: Arc<AtomicUsize>,
    /// Most bytes, unless they are one message.
    most: usize,
    depth: Gauge,
}

/// Where messages are taken from.
#[derive(Debug)]
pub struct Receiver<T> {
    queue: mpsc::Receiver<(usize, T)>,
    bytes: Arc<AtomicUsize>,
    depth: Gauge,
}

/// A queue for so many messages and bytes, whose length `depth` tells.
pub(super) fn new<T>((messages, most): (usize, usize), depth: Gauge) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel(messages);
    let bytes = Arc::new(AtomicUsize::new(0));
    (
        Sender { queue: sender, bytes: bytes.clone(), most, depth: depth.clone() },
        Receiver { queue: receiver, bytes, depth },
    )
}

impl<T> Sender<T> {
    /// Puts a message of `bytes` bytes there; `false` if there is no place for it.
    pub(super) fn push(&self, bytes: usize, message: T) -> bool {
        let before = self.bytes.fetch_add(bytes, Relaxed);
        let fits = before == 0 || before.saturating_add(bytes) <= self.most;
        let taken = fits && self.queue.try_send((bytes, message)).is_ok();
        if taken {
            self.depth.increment(1);
        } else {
            self.bytes.fetch_sub(bytes, Relaxed);
        }
        taken
    }
}

impl<T> Receiver<T> {
    /// Waits for messages, and takes those that are there: at most `messages`, and no more once they have
    /// `most` bytes. None when there will be no more.
    pub async fn take(&mut self, messages: usize, most: usize) -> Vec<T> {
        let mut taken = Vec::new();
        let Some((mut bytes, first)) = self.queue.recv().await else { return taken };
        taken.push(first);
        while taken.len() < messages && bytes < most {
            let Ok((more, message)) = self.queue.try_recv() else { break };
            bytes += more;
            taken.push(message);
        }
        self.bytes.fetch_sub(bytes, Relaxed);
        self.depth.decrement(u32::try_from(taken.len()).unwrap_or(u32::MAX));
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_queue_is_full_of_messages_or_of_bytes() {
        let (sender, mut receiver) = new((3, 100), Gauge::noop());
        assert!(sender.push(60, 'a') && !sender.push(41, 'b') && sender.push(40, 'c'));
        assert!(!sender.push(1, 'd'));
        assert_eq!(receiver.take(9, 999).await, ['a', 'c']);
        assert!(sender.push(1000, 'e'), "an empty queue takes any one message");
        assert_eq!(receiver.take(9, 999).await, ['e']);
        assert!(['f', 'g', 'h'].into_iter().all(|message| sender.push(0, message)));
        assert!(!sender.push(0, 'i'));
        assert_eq!(receiver.take(2, 999).await, ['f', 'g']);
        drop(sender);
        assert_eq!(receiver.take(2, 999).await, ['h']);
        assert!(receiver.take(2, 999).await.is_empty());
    }

    #[tokio::test]
    async fn what_is_taken_at_once_is_bounded_in_bytes() {
        let (sender, mut receiver) = new((9, 1000), Gauge::noop());
        assert!([40, 70, 5].into_iter().all(|bytes| sender.push(bytes, bytes)));
        assert_eq!(receiver.take(9, 100).await, [40, 70]);
        assert_eq!(receiver.take(9, 100).await, [5]);
    }
}

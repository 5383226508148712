//! The way out over one session's WebSocket: the stream, and what waits to leave over it, whoever has put
//! it there.
//!
//! Two write to it: the library, whose frames pass [`Channel`], and whoever publishes, whose frames are
//! made once and shared by all recipients. What the library still holds for a session leaves first: see
//! [`Link::offer`].
//!
//! [`Channel`]: crate::wire::channel::Channel

use std::fmt;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::Wake;
use std::task::Waker;

use bytes::Buf;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;

use crate::protocol::Generation;
use crate::wire::due::Due;
use crate::wire::frame;
use crate::wire::linger::linger;
use crate::wire::link::Link;
use crate::wire::outbox::Outbox;
use crate::wire::payload::message_cost;
use crate::wire::send_queue::SendQueue;

/// Most slices that one write takes.
const SLICES: usize = 32;

/// What carries a WebSocket.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The way out of one session, as those who use it share it.
#[repr(C)] // For `Link`.
pub(super) struct Outgoing {
    way: Mutex<Way>,
    /// Wakes both tasks. Whoever writes has it woken when there is room again: of those who write, none
    /// stays to wait for it.
    waker: Waker,
    /// Who waits for what the session's client publishes.
    pub(super) due: Mutex<Due>,
    tasks: Arc<Tasks>,
}

/// The tasks of the session's WebSocket.
#[derive(Default)]
pub(super) struct Tasks {
    /// Reads from it, and writes what waits whenever it is woken.
    pub(super) reader: AtomicWaker,
    /// Waits until all has left.
    pub(super) closer: AtomicWaker,
}

impl Wake for Tasks {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.reader.wake();
        self.closer.wake();
    }
}

impl Default for Outgoing {
    fn default() -> Self {
        let tasks = Arc::<Tasks>::default();
        Self { way: Mutex::default(), due: Mutex::default(), waker: tasks.clone().into(), tasks }
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Outgoing").finish_non_exhaustive()
    }
}

impl Outgoing {
    pub(super) fn lock(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }
}

/// The stream, and what waits to leave over it.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each may hold whatever the others say")]
pub(super) struct Way {
    /// There is none while the session polls, nor once the stream is closed from our side.
    pub(super) stream: Option<Box<dyn Stream>>,
    pub(super) out: Outbox,
    /// What `out` takes of the send queue.
    pub(super) owed: u64,
    /// It is in somebody's [`Due`].
    pub(super) due: bool,
    /// The stream has taken no more, and wakes the reader when it does.
    stuck: bool,
    /// Nothing has waited at some moment since this was last looked at.
    pub(super) emptied: bool,
    /// The reader waits for `out` to be empty.
    pub(super) reader_waits: bool,
}

impl Way {
    /// Appends `frames`, which take `cost` of the send queue.
    pub(super) fn put(&mut self, frames: &[u8], cost: usize) {
        self.out.put(frames);
        self.owed += cost as u64;
    }

    /// Writes what waits, as far as the stream takes it; says how much has left the send queue.
    pub(super) fn write(&mut self, link: &Arc<Link>) -> u64 {
        let mut cx = Context::from_waker(&link.outgoing().waker);
        let mut left = 0;
        self.stuck = false;
        while let Some(stream) = self.stream.as_mut().filter(|_| !self.out.is_empty()) {
            let sent = if let Some(all) = self.out.whole() {
                Pin::new(stream).poll_write(&mut cx, all)
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = self.out.chunks_vectored(&mut slices);
                Pin::new(stream).poll_write_vectored(&mut cx, slices.get(..count).unwrap_or_default())
            };
            match sent {
                Poll::Ready(Ok(sent @ 1..)) => left += self.sent(sent),
                Poll::Ready(_) => self.fail(link),
                Poll::Pending => {
                    self.stuck = true;
                    break;
                }
            }
        }
        if self.out.is_empty() {
            self.emptied = true;
            if std::mem::take(&mut self.reader_waits) {
                link.outgoing().tasks.reader.wake();
            }
        }
        link.queue().take(left)
    }

    /// So many bytes of what waits have left; says what they have taken of the send queue.
    fn sent(&mut self, bytes: usize) -> u64 {
        let all = self.out.remaining();
        self.out.advance(bytes);
        if bytes == all {
            return std::mem::take(&mut self.owed);
        }
        let share = u128::from(self.owed) * bytes as u128 / all as u128;
        let share = u64::try_from(share).unwrap_or(self.owed);
        self.owed -= share;
        share
    }

    /// Closes the stream from our side with `code`, behind what waits; the library sees its end at once.
    pub(super) fn close(&mut self, link: &Arc<Link>, code: u16) {
        let Some(stream) = self.stream.take() else {
            return;
        };
        self.out.put(&frame::close(code));
        linger(stream, std::mem::take(&mut self.out), link.clone());
        // Whoever waits for the stream waits in vain now: it has another owner.
        link.outgoing().waker.wake_by_ref();
    }

    /// Nothing will leave any more: the library sees the end of the stream.
    ///
    /// Not an error of writing, which it ignores: its WebSocket would keep what is still to come, and
    /// offer all of it again with each message.
    fn fail(&mut self, link: &Arc<Link>) {
        self.out = Outbox::default();
        if let Some(stream) = self.stream.take() {
            linger(stream, Outbox::default(), link.clone());
        }
        link.outgoing().waker.wake_by_ref();
    }
}

/// What has become of a message that a session was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It waits to leave, and does so at the next [`Link::flush`] of its publisher.
    Ready,
    /// It has its place in the send queue, and is to be put into the library's.
    Queued,
    /// It has no place in the send queue.
    Refused,
}

impl Link {
    /// Makes room in the send queue for the word that the client is in the namespace, so that no message
    /// overtakes it.
    pub fn expect_admission(&self) {
        let cost = message_cost(0);
        if self.queue().put_acknowledgement(cost as u64, self.links().longest_queue()).is_some() {
            self.links().enqueued(cost);
        }
    }

    /// Queues a message that costs `cost` bytes; `frames` are how it goes over a WebSocket. Whoever does
    /// so counts the cost with [`Links::enqueued`], once for all recipients, and has `due` written by
    /// [`flush`](Self::flush).
    ///
    /// A full send queue refuses it; an empty one takes any one message.
    ///
    /// [`Links::enqueued`]: crate::wire::links::Links::enqueued
    #[must_use]
    pub fn offer<'a>(
        self: &Arc<Self>,
        cost: usize,
        frames: impl FnOnce(Generation) -> &'a Bytes,
        due: &mut Due,
    ) -> Offered {
        self.put(|queue, longest| queue.put(cost as u64, longest), cost, frames, due)
    }

    /// The same for an acknowledgement, which is refused only if the client asks for more of them than it
    /// reads.
    #[must_use]
    pub fn offer_acknowledgement<'a>(
        self: &Arc<Self>,
        cost: usize,
        frames: impl FnOnce(Generation) -> &'a Bytes,
        due: &mut Due,
    ) -> Offered {
        self.put(|queue, longest| queue.put_acknowledgement(cost as u64, longest), cost, frames, due)
    }

    /// Puts a message into the send queue by `put`, which says what waited there before, and behind what
    /// waits to leave if that is all there was. Else the library holds something which comes first.
    fn put<'a>(
        self: &Arc<Self>,
        put: impl FnOnce(&SendQueue, u64) -> Option<u64>,
        cost: usize,
        frames: impl FnOnce(Generation) -> &'a Bytes,
        due: &mut Due,
    ) -> Offered {
        let mut way = self.outgoing().lock();
        let Some(before) = put(self.queue(), self.links().longest_queue()) else {
            return Offered::Refused;
        };
        if way.stream.is_none() || before != way.owed {
            return Offered::Queued;
        }
        way.out.share(frames(self.generation()));
        way.owed += cost as u64;
        if !std::mem::replace(&mut way.due, true) {
            due.add(self);
        }
        Offered::Ready
    }

    /// Writes what waits to leave over the session's WebSocket, and leaves the way to the caller.
    pub(super) fn write(self: &Arc<Self>) -> MutexGuard<'_, Way> {
        let mut way = self.outgoing().lock();
        let left = way.write(self);
        self.links().dequeued(left);
        way
    }

    /// The same, if it has found no room before.
    pub(super) fn resume(self: &Arc<Self>) -> MutexGuard<'_, Way> {
        let way = self.outgoing().lock();
        if way.stuck {
            drop(way);
            return self.write();
        }
        way
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use bytes::BytesMut;
    use futures_util::FutureExt;
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::io::DuplexStream;
    use tokio::io::duplex;
    use tokio::time::timeout;

    use super::*;
    use crate::config::Limits;
    use crate::protocol::Encoding;
    use crate::protocol::Transport;
    use crate::telemetry::metrics::Connections;
    use crate::wire::channel::Channel;
    use crate::wire::links::Links;
    use crate::wire::payload::Packet;
    use crate::wire::permit::Permit;

    /// A message as the library would write it, a frame for each packet.
    struct Message {
        frames: Vec<Bytes>,
        all: Bytes,
        cost: usize,
    }

    impl Message {
        fn new(link: &Link, packets: &[Packet]) -> Self {
            let frame = |packet: &Packet| {
                let mut out = BytesMut::new();
                packet.put_frame(Generation::V4, &mut out);
                out.freeze()
            };
            let frames: Vec<_> = packets.iter().map(frame).collect();
            let cost = packets.iter().map(|packet| link.cost(packet)).sum();
            Self { all: frames.concat().into(), frames, cost }
        }

        fn event(link: &Link, number: usize, length: usize) -> Self {
            let text = format!("42[\"data\",{number},\"{}\"]", "x".repeat(length));
            Self::new(link, &[Packet::Text(text.into())])
        }

        fn binary(link: &Link, number: usize, length: usize) -> Self {
            let text = format!("451-[\"data\",{number}]");
            Self::new(link, &[Packet::Text(text.into()), Packet::Binary(vec![0; length].into())])
        }
    }

    fn link() -> Arc<Link> {
        let links = Links::new(&Limits::default(), Encoding::Json, Connections::unheard());
        links.open(Generation::V4, Transport::WebSocket, Permit::new(()))
    }

    /// A session's channel, and the end of its client.
    fn channel(link: &Arc<Link>, capacity: usize) -> (Channel, DuplexStream) {
        let (near, far) = duplex(capacity);
        (Channel::new(near, link.clone(), Bytes::new(), 1_000), far)
    }

    fn offer(link: &Arc<Link>, message: &Message) -> Offered {
        link.offer(message.cost, |_| &message.all, &mut link.due())
    }

    #[test]
    fn what_the_library_holds_leaves_first() {
        let link = link();
        let messages: Vec<_> = (0..4).map(|number| Message::event(&link, number, 10)).collect();
        let [first, second, third, fourth] = &messages[..] else { unreachable!() };
        assert_eq!(offer(&link, first), Offered::Queued, "there is no WebSocket yet");
        let (mut channel, mut far) = channel(&link, 1_000);
        assert_eq!(offer(&link, second), Offered::Queued, "the library holds the first one");
        let all = [&first.all[..], &second.all].concat();
        channel.write_all(&all).now_or_never().unwrap().unwrap();
        assert_eq!(offer(&link, third), Offered::Ready);
        assert_eq!(offer(&link, fourth), Offered::Ready);
        assert_eq!(link.due().len(), 1, "it is written once");
        link.flush();
        let mut received = vec![0; 1_000];
        let length = far.read(&mut received).now_or_never().unwrap().unwrap();
        let sent: Vec<_> = messages.iter().flat_map(|message| message.all.to_vec()).collect();
        assert_eq!(received[..length], sent);
        assert_eq!((link.queue().waiting(), link.due().len()), (0, 0));
    }

    #[test]
    fn nothing_overtakes_the_word_that_a_client_is_in_the_namespace() {
        let link = link();
        let (mut channel, _far) = channel(&link, 1_000);
        link.expect_admission();
        let message = Message::event(&link, 0, 10);
        assert_eq!(offer(&link, &message), Offered::Queued);
        let admission = Message::new(&link, &[Packet::Text("40{\"sid\":\"x\"}".into())]);
        channel.write_all(&admission.all).now_or_never().unwrap().unwrap();
        channel.write_all(&message.all).now_or_never().unwrap().unwrap();
        assert_eq!(offer(&link, &message), Offered::Ready);
        assert_eq!(link.due().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_finds_no_room_leaves_when_there_is_some_whoever_has_published_it() {
        let (link, publisher) = (link(), link());
        let (mut channel, mut far) = channel(&link, 100);
        let message = Message::event(&link, 0, 1_000);
        for _ in 0..50 {
            let offered = link.offer(message.cost, |_| &message.all, &mut publisher.due());
            assert_eq!(offered, Offered::Ready);
        }
        let before = link.queue().waiting();
        publisher.flush();
        let waits = link.queue().waiting();
        assert!(waits < before && waits > before - 300, "{waits} of {before} wait");
        // The library reads all the time.
        let reading = tokio::spawn(async move { channel.read(&mut [0; 10]).await });
        let mut received = vec![0; message.all.len() * 50];
        let read = timeout(Duration::from_secs(1), far.read_exact(&mut received)).await;
        assert!(read.is_ok_and(|read| read.is_ok()), "not all of it has come");
        assert_eq!(received, message.all.repeat(50));
        assert_eq!(link.queue().waiting(), 0);
        assert!(!reading.is_finished());
    }

    proptest! {
        /// Whatever is offered, written and read in whatever order: the client gets it as it was offered.
        #[test]
        fn messages_leave_in_the_order_in_which_they_were_offered(
            steps in prop::collection::vec((0..6u8, 1..6usize, 0..4_000usize), 1..200),
            early in 0..5usize,
        ) {
            let link = link();
            let (mut library, mut expected) = (VecDeque::new(), Vec::new());
            let mut offer = |message: Message, library: &mut VecDeque<Bytes>| {
                match offer(&link, &message) {
                    Offered::Ready => {}
                    Offered::Queued => library.extend(message.frames),
                    Offered::Refused => panic!("there is room"),
                }
                expected.extend_from_slice(&message.all);
            };
            for number in 0..early {
                offer(Message::event(&link, number, 3), &mut library);
            }
            let (mut channel, mut far) = channel(&link, 5_000);
            let (mut received, mut buffer) = (Vec::new(), vec![0; 4_000]);
            for (number, (step, count, size)) in steps.into_iter().enumerate() {
                match step {
                    0 | 1 => offer(Message::event(&link, number, size / 10), &mut library),
                    2 => offer(Message::event(&link, number, size), &mut library),
                    3 => offer(Message::binary(&link, number, size), &mut library),
                    4 => {
                        for frame in library.drain(..count.min(library.len())) {
                            channel.write_all(&frame).now_or_never().unwrap().unwrap();
                        }
                        channel.flush().now_or_never().unwrap().unwrap();
                    }
                    _ => {
                        link.flush();
                        if let Some(read) = far.read(&mut buffer[..size]).now_or_never() {
                            received.extend_from_slice(&buffer[..read.unwrap()]);
                        }
                    }
                }
            }
            for frame in library {
                channel.write_all(&frame).now_or_never().unwrap().unwrap();
            }
            while received.len() < expected.len() {
                channel.flush().now_or_never().unwrap().unwrap();
                let read = far.read(&mut buffer).now_or_never();
                received.extend_from_slice(&buffer[..read.expect("something is left").unwrap()]);
            }
            prop_assert_eq!(received, expected);
            prop_assert_eq!(link.queue().waiting(), 0);
            link.flush();
        }
    }
}

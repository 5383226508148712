//! The stream under every accepted connection: its bytes are counted, it does not wait for ever for
//! a peer that does not read, and it can be ended from outside.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio::time::Sleep;
use tokio::time::sleep;

use crate::telemetry::disconnection::Disconnection;
use crate::telemetry::metrics::Traffic;
use crate::wire::backlog::Backlog;
use crate::wire::departures::Departure;
use crate::wire::departures::Departures;
use crate::wire::permit::Permit;

/// How many marks are kept of the bytes that wait, so how exactly their age is known.
const MARKS: u32 = 16;

/// A stream that is guarded.
///
/// Everything that a peer sends or is sent passes here, below TLS, HTTP and WebSocket: it is the one
/// place for what bounds a connection as a whole. The age of the oldest byte that it was asked to
/// send, and that the system has not taken, is bounded: a peer that reads a byte now and then does
/// not make the others younger.
#[derive(Debug)]
pub struct Guarded<S: Abort> {
    stream: S,
    traffic: Traffic,
    kill: Arc<Kill>,
    departures: Departures,
    /// The peer has gone, and the reader has not heard of it yet.
    departure: Option<Box<Departure>>,
    /// Longest time that a byte may wait to leave.
    write_stall: Duration,
    /// Bytes that the stream was asked to send and has not.
    unsent: Backlog,
    /// Rings when the oldest of them has waited too long; there is none while nothing waits.
    alarm: Option<Pin<Box<Sleep>>>,
    /// The connection's place, last: the file descriptor is free before it is.
    _permit: Permit,
}

/// A stream whose end can be made abrupt.
pub trait Abort {
    /// When the stream is dropped its peer gets a reset, and nothing that waits is sent any more.
    ///
    /// Without it the system goes on offering what waits to a peer that does not read, and keeps it
    /// in memory for as long as the peer is there.
    fn abort(&self);
}

impl Abort for TcpStream {
    fn abort(&self) {
        // It fails only for a socket that is gone already.
        let _ = self.set_zero_linger();
    }
}

/// Ends a guarded stream from outside, both its halves at once.
#[derive(Debug, Default)]
pub struct Kill {
    cause: OnceLock<Disconnection>,
    /// Whether the stream ends abruptly when it is dropped.
    abrupt: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Kill {
    /// Ends the stream: whoever reads or writes, now or later, gets an error.
    pub fn strike(&self, cause: Disconnection) {
        // The first cause counts.
        let _ = self.cause.set(cause);
        self.discard();
        self.reader.wake();
        self.writer.wake();
    }

    /// What the system still holds for the peer is not sent any more once the stream is dropped.
    pub(super) fn discard(&self) {
        self.abrupt.store(true, Relaxed);
    }

    /// Why the stream was ended, if it was.
    #[must_use]
    pub fn cause(&self) -> Option<Disconnection> {
        self.cause.get().copied()
    }

    /// `Ready` once the stream has been ended; else `waker` hears of it.
    fn poll(&self, waker: &AtomicWaker, cx: &Context<'_>) -> Poll<io::Error> {
        waker.register(cx.waker());
        match self.cause() {
            Some(_) => Poll::Ready(ended()),
            None => Poll::Pending,
        }
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the connection was ended by its guard")
}

impl<S: Abort> Guarded<S> {
    /// Guards `stream`: its bytes are counted in `traffic`, none may wait longer than `write_stall` to
    /// leave, and that the peer has gone is heard of when `departures` say so. Whoever has the stream in the
    /// end, a WebSocket among others, gives `permit` back by dropping it.
    pub fn new(
        stream: S,
        permit: Permit,
        write_stall: Duration,
        traffic: Traffic,
        departures: Departures,
    ) -> Self {
        Self {
            stream,
            traffic,
            kill: Arc::default(),
            departures,
            departure: None,
            write_stall,
            unsent: Backlog::default(),
            alarm: None,
            _permit: permit,
        }
    }

    /// What ends the stream from outside.
    pub fn kill(&self) -> &Arc<Kill> {
        &self.kill
    }

    /// The stream was asked to send `offered` bytes, and this came of it.
    fn settle(
        &mut self,
        offered: usize,
        outcome: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let sent = match &outcome {
            Poll::Ready(Ok(sent)) => *sent,
            Poll::Ready(Err(_)) => return outcome,
            Poll::Pending => 0,
        };
        self.traffic.sent(sent);
        if sent == offered && self.alarm.is_none() {
            return outcome;
        }
        // What is offered again is what was not sent before, and perhaps more behind it.
        self.unsent.put((offered as u64).saturating_sub(self.unsent.waiting()));
        self.unsent.take(sent as u64);
        self.unsent.mark(Instant::now().into_std(), self.write_stall / MARKS);
        match self.unsent.oldest() {
            None => self.alarm = None,
            Some(oldest) => {
                let due = Instant::from_std(oldest) + self.write_stall;
                let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(self.write_stall)));
                if alarm.deadline() != due {
                    alarm.as_mut().reset(due);
                }
                if alarm.as_mut().poll(cx).is_ready() {
                    self.kill.strike(Disconnection::WriteStalled);
                }
                if let Poll::Ready(error) = self.kill.poll(&self.kill.writer, cx) {
                    return Poll::Ready(Err(error));
                }
            }
        }
        outcome
    }
}

impl<S: AsyncRead + Abort + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let this = &mut *self;
        if this.kill.cause().is_some() {
            return Poll::Ready(Err(ended()));
        }
        if this.departure.is_none() {
            match Pin::new(&mut this.stream).poll_read(cx, buf) {
                Poll::Ready(Ok(())) if buf.filled().len() > before || buf.remaining() == 0 => {
                    this.traffic.received(buf.filled().len() - before);
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(end) => this.departure = Some(Box::new(this.departures.wait(end))),
                Poll::Pending => return this.kill.poll(&this.kill.reader, cx).map(Err),
            }
        }
        match this.departure.as_mut().map(|departure| departure.poll(cx)) {
            Some(Poll::Ready(end)) => {
                this.departure = None;
                Poll::Ready(end)
            }
            _ => this.kill.poll(&this.kill.reader, cx).map(Err),
        }
    }
}

impl<S: AsyncWrite + Abort + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.kill.cause().is_some() {
            return Poll::Ready(Err(ended()));
        }
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.settle(buf.len(), outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.kill.cause().is_some() {
            return Poll::Ready(Err(ended()));
        }
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.settle(bufs.iter().map(|buf| buf.len()).sum(), outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: Abort> Drop for Guarded<S> {
    fn drop(&mut self) {
        if self.kill.abrupt.load(Relaxed) {
            self.stream.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::io::DuplexStream;
    use tokio::io::duplex;
    use tokio::time::timeout;

    use super::*;

    impl Abort for DuplexStream {
        fn abort(&self) {}
    }

    const STALL: Duration = Duration::from_secs(10);

    fn guarded(capacity: usize) -> (Guarded<DuplexStream>, DuplexStream) {
        let (near, far) = duplex(capacity);
        (Guarded::new(near, Permit::new(()), STALL, Traffic::unheard(), Departures::new().0), far)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_given_up_when_its_time_is_over() {
        let (mut stream, _far) = guarded(10);
        stream.write_all(&[0; 10]).await.unwrap();
        let began = Instant::now();
        assert_eq!(stream.write_all(&[0; 1]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), STALL);
        assert_eq!(stream.kill().cause(), Some(Disconnection::WriteStalled));
        assert_eq!(stream.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_does_not_help() {
        let (mut stream, mut far) = guarded(10);
        let began = Instant::now();
        let writing = tokio::spawn(async move { stream.write_all(&[0; 100]).await });
        while !writing.is_finished() {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let _ = far.read(&mut [0]).await;
        }
        assert!(writing.await.unwrap().is_err());
        assert!(began.elapsed() < STALL + Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_keeps_up_may_read_for_as_long_as_it_likes() {
        let (mut stream, mut far) = guarded(10);
        let writing = tokio::spawn(async move {
            for _ in 0..100 {
                stream.write_all(&[0; 30]).await.unwrap();
            }
            assert!(stream.alarm.is_none() && stream.unsent.waiting() == 0);
        });
        let began = Instant::now();
        let mut buffer = [0; 10];
        while far.read(&mut buffer).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        writing.await.unwrap();
        assert!(began.elapsed() > STALL * 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_strike_ends_both_halves_at_once() {
        let (stream, _far) = guarded(10);
        let kill = stream.kill().clone();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let reading = tokio::spawn(async move { reader.read(&mut [0]).await });
        let writing = tokio::spawn(async move { writer.write_all(&[0; 20]).await });
        tokio::task::yield_now().await;
        kill.strike(Disconnection::Drain);
        kill.strike(Disconnection::Client);
        let ended = async { (reading.await.unwrap().is_err(), writing.await.unwrap().is_err()) };
        assert_eq!(timeout(Duration::from_millis(1), ended).await, Ok((true, true)));
        assert_eq!(kill.cause(), Some(Disconnection::Drain));
    }
}

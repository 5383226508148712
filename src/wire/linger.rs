//! Lingering: how a stream that we close gets its last bytes across.

use std::future::Future as _;
use std::future::poll_fn;
use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::ReadBuf;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio::time::Sleep;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::telemetry::disconnection::Disconnection;
use crate::wire::link::Link;
use crate::wire::outbox::Outbox;

/// How long the last bytes of a closed stream may take to leave.
const FLUSH: Duration = Duration::from_secs(10);
/// The same for a client that is closed because it does not read what it is sent.
const FLUSH_SLOW: Duration = Duration::from_secs(2);
/// How long a closed stream then waits for its peer to close too.
const LINGER: Duration = Duration::from_secs(2);
/// How long it waits for a peer that has gone quiet.
const QUIET: Duration = Duration::from_millis(500);

/// Lets the last bytes leave and waits, for a while, until the peer has closed its side; then the
/// session is over.
///
/// Closing a socket with unread input resets the connection, and a reset discards what the peer has
/// not read yet: messages, and the close frame that says why.
pub(super) fn linger<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    mut stream: S,
    mut out: Outbox,
    link: Arc<Link>,
) {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    runtime.spawn(async move {
        let last = async {
            stream.write_all_buf(&mut out).await?;
            stream.shutdown().await
        };
        let patience = match link.fate().cause() {
            Some(Disconnection::SlowConsumer | Disconnection::WriteStalled) => FLUSH_SLOW,
            _ => FLUSH,
        };
        let mut closed = false;
        if matches!(timeout(patience, last).await, Ok(Ok(()))) {
            let mut wait = Wait::begin();
            closed = poll_fn(|cx| wait.poll(&mut stream, cx)).await;
        }
        // A peer that does not close its side may not be reading either, and what the system still
        // holds for it would stay in memory. At a drain the system may go on trying without us.
        if !closed && link.fate().cause() != Some(Disconnection::Drain) {
            link.fate().discard();
        }
        drop(stream);
        link.end();
    });
}

/// The wait for the peer of a stream that we have closed; what it still sends is discarded.
struct Wait {
    /// For the peer as a whole.
    end: Pin<Box<Sleep>>,
    /// For its next byte.
    quiet: Pin<Box<Sleep>>,
}

impl Wait {
    fn begin() -> Self {
        Self { end: Box::pin(sleep(LINGER)), quiet: Box::pin(sleep(QUIET)) }
    }

    /// Whether the peer has closed its side, once that is known or was waited for long enough.
    fn poll<S: AsyncRead + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<bool> {
        let mut discarded = [0; 8 * 1024];
        loop {
            // First, as there may be no end of what can be read at once.
            if self.end.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            let mut buffer = ReadBuf::new(&mut discarded);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.quiet.as_mut().reset(Instant::now() + QUIET);
                }
                Poll::Ready(read) => return Poll::Ready(read.is_ok()),
                Poll::Pending => return self.quiet.as_mut().poll(cx).map(|()| false),
            }
        }
    }
}

/// A stream that lingers when it is shut down: its peer may be in the middle of a request that has
/// been answered already, such as one that is too large, and gets the answer only if the rest is read.
pub struct Lingering<S> {
    stream: S,
    wait: Option<Wait>,
}

impl<S> Lingering<S> {
    /// Lets `stream` linger.
    pub fn new(stream: S) -> Self {
        Self { stream, wait: None }
    }

    /// The stream, which is shut down by others.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.wait.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        this.wait.get_or_insert_with(Wait::begin).poll(&mut this.stream, cx).map(|_| Ok(()))
    }
}

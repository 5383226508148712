//! Lingering: how a stream that we close gets its last bytes across.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::telemetry::disconnection::Disconnection;
use crate::wire::link::Link;

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
    out: BytesMut,
    link: Arc<Link>,
) {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    runtime.spawn(async move {
        let last = async {
            stream.write_all(&out).await?;
            stream.shutdown().await
        };
        let patience = match link.fate().cause() {
            Some(Disconnection::SlowConsumer | Disconnection::WriteStalled) => FLUSH_SLOW,
            _ => FLUSH,
        };
        let mut closed = false;
        if matches!(timeout(patience, last).await, Ok(Ok(()))) {
            let mut discarded = [0; 1024];
            let until_closed = async {
                loop {
                    match timeout(QUIET, stream.read(&mut discarded)).await {
                        Ok(Ok(1..)) => {}
                        answer => return answer.is_ok(),
                    }
                }
            };
            closed = timeout(LINGER, until_closed).await.unwrap_or(false);
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

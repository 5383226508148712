//! The outbox of a connection to NATS: what is to be written, and who waits for an answer to it.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use bytes::BufMut;
use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::sync::oneshot;

use crate::relay::connection::Broken;

/// What is to be written. Who asks waits for the answer, which keeps it small.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Default)]
struct Waiting {
    bytes: BytesMut,
    /// Those who have asked, in the order in which they are answered.
    asked: VecDeque<oneshot::Sender<()>>,
    is_closed: bool,
}

impl Outbox {
    /// Has the server do what `write` writes, and waits until it has.
    pub(super) async fn ask(&self, write: impl FnOnce(&mut BytesMut)) -> Result<(), Broken> {
        const GONE: &str = "the connection has ended";
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            if waiting.is_closed {
                return Err(GONE.to_owned());
            }
            write(&mut waiting.bytes);
            // The server does one after the other: when it answers this it has done what is before.
            waiting.bytes.put_slice(b"PING\r\n");
            waiting.asked.push_back(sender);
        }
        self.filled.notify_one();
        answer.await.map_err(|_| GONE.to_owned())
    }

    /// Tells the server something, which it does not answer.
    pub(super) fn tell(&self, bytes: &[u8]) {
        self.waiting().bytes.put_slice(bytes);
        self.filled.notify_one();
    }

    /// The server has answered the first that has asked.
    pub(super) fn answered(&self) {
        if let Some(first) = self.waiting().asked.pop_front() {
            // Whoever does not wait any more has given up.
            let _ = first.send(());
        }
    }

    /// Nothing is written any more: nobody waits for an answer in vain.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting();
        *waiting = Waiting { is_closed: true, ..Waiting::default() };
    }

    /// Writes what there is, and will be, until that fails.
    pub(super) async fn empty_into(&self, mut writer: impl AsyncWrite + Unpin) -> Broken {
        loop {
            let bytes = take(&mut self.waiting().bytes);
            if bytes.is_empty() {
                self.filled.notified().await;
                continue;
            }
            let written = async {
                writer.write_all(&bytes).await?;
                writer.flush().await
            };
            if let Err(error) = written.await {
                return error.to_string();
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

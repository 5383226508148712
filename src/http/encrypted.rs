//! A client's stream under TLS, as a socket behaves: what it has taken is on its way.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::server::TlsStream;

/// A stream that is encrypted.
///
/// The library takes up to 64 KiB that it has not sent, and sends them when it is flushed or asked
/// for more. A socket does so by itself, and what stands above is made for one; and what waits unseen
/// has no age for the guard below. So here bytes are taken when they have left: until then whoever
/// writes waits, and offers the same bytes again, as everybody does who has a queue.
pub(super) struct Encrypted<S> {
    /// Boxed, as it is large, and most connections may have none.
    stream: Box<TlsStream<S>>,
    /// Bytes that the library has taken, and that we have not said so of.
    taken: usize,
}

impl<S> Encrypted<S> {
    /// The stream after its handshake.
    pub(super) fn new(stream: TlsStream<S>) -> Self {
        Self { stream: Box::new(stream), taken: 0 }
    }

    /// The certificate that the peer has shown, and those of its authorities behind it.
    pub(super) fn certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.stream.get_ref().1.peer_certificates()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Encrypted<S> {
    fn poll_leave(&mut self, offered: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        Poll::Ready(Ok(std::mem::take(&mut self.taken).min(offered)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.taken == 0 {
            self.taken = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        }
        self.poll_leave(buf.len(), cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.taken == 0 {
            self.taken = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        }
        self.poll_leave(bufs.iter().map(|buf| buf.len()).sum(), cx)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rcgen::generate_simple_self_signed;
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::io::duplex;
    use tokio::time::timeout;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::crypto::aws_lc_rs;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    use super::*;
    use crate::http::tls;

    #[tokio::test(start_paused = true)]
    async fn what_was_written_arrives_though_nobody_flushes() {
        let own = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        let (near, far) = duplex(1_000);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (server, client) = tokio::join!(acceptor.accept(near), tls::connect_to_any(far));
        let (mut server, mut client) = (Encrypted::new(server.unwrap()), client.unwrap());
        let sent: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            server.write_all(&sent).await.unwrap();
            server
        });
        let mut received = vec![0; expected.len()];
        timeout(Duration::from_secs(1), client.read_exact(&mut received)).await.unwrap().unwrap();
        assert_eq!(received, expected);
        drop(writing.await.unwrap());
    }
}

//! A tunnel: what reaches a daemon over TLS, a unix socket or behind a PROXY header, as plain TCP.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// An open tunnel; it is closed, and everything in it, when this is dropped.
pub struct Tunnel {
    /// Where its near end is.
    pub address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Tunnel {
    /// Opens a tunnel whose far end `dial` connects, once for each connection.
    pub fn open<S, F>(dial: impl Fn() -> F + Send + 'static) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
    {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let far = dial();
                tokio::spawn(async move {
                    let mut far = far.await?;
                    near.set_nodelay(true)?;
                    copy_bidirectional(&mut near, &mut far).await
                });
            }
        });
        Self { address, runtime: Some(runtime) }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

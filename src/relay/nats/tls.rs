//! TLS with a server of NATS.

use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::config::RelayTls;
use crate::relay::connection::Broken;
use crate::relay::files;
use crate::relay::nats::speech::Stream;

/// The section that names the files.
pub(super) const SECTION: &str = "relay.nats.tls";

/// An encrypted connection.
pub(super) type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// Encrypts a connection to `host`, which is to show that it is that.
pub(super) async fn encrypt(stream: Stream, host: &str, config: Option<&RelayTls>) -> Result<Stream, Broken> {
    let Stream::Left(stream) = stream else { return Ok(stream) };
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let connector = files::connector(SECTION, config).map_err(|failure| failure.to_string())?;
    let encrypted = connector.connect(name, stream).await.map_err(|error| format!("no TLS: {error}"))?;
    Ok(Stream::Right(Box::new(encrypted)))
}

//! TLS with a server of NATS: whom to trust, and what to show.

use std::fmt::Display;
use std::sync::Arc;

use rustls_native_certs::load_native_certs;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::config::FilePath;
use crate::config::RelayTls;
use crate::failure::Failure;
use crate::relay::connection::Broken;
use crate::relay::nats::speech::Stream;

/// An encrypted connection.
pub(super) type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// Encrypts a connection to `host`, which is to show that it is that.
pub(super) async fn encrypt(stream: Stream, host: &str, config: Option<&RelayTls>) -> Result<Stream, Broken> {
    let Stream::Left(stream) = stream else { return Ok(stream) };
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let connector = connector(config).map_err(|failure| failure.to_string())?;
    let encrypted = connector.connect(name, stream).await.map_err(|error| format!("no TLS: {error}"))?;
    Ok(Stream::Right(Box::new(encrypted)))
}

/// What encrypts, made from what is in the files now.
pub(super) fn connector(config: Option<&RelayTls>) -> Result<TlsConnector, Failure> {
    let internal = |error: &dyn Display| Failure::Internal(format!("cannot use TLS: {error}"));
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| internal(&error))?
        .with_root_certificates(trusted(config.and_then(|config| config.ca.as_ref()))?);
    let own = config.and_then(|config| Some((config.certificate.as_ref()?, config.key.as_ref()?)));
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates("certificate", certificate)?;
            let text = key.read("relay.nats.tls.key")?;
            let own = PrivateKeyDer::from_pem_slice(&text)
                .map_err(|_| unusable("key", key, &"it has no private key in PEM that is not encrypted"))?;
            builder.with_client_auth_cert(chain, own).map_err(|error| unusable("key", key, &error))?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn trusted(file: Option<&FilePath>) -> Result<RootCertStore, Failure> {
    let mut trusted = RootCertStore::empty();
    match file {
        // One that cannot be used is no reason to trust none of the others.
        None => drop(trusted.add_parsable_certificates(load_native_certs().certs)),
        Some(file) => {
            for certificate in certificates("ca", file)? {
                trusted.add(certificate).map_err(|error| unusable("ca", file, &error))?;
            }
        }
    }
    Ok(trusted)
}

fn certificates(key: &str, file: &FilePath) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let text = file.read(&format!("relay.nats.tls.{key}"))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_| unusable(key, file, &"it is not PEM"))?;
    if certificates.is_empty() {
        return Err(unusable(key, file, &"it has no certificate"));
    }
    Ok(certificates)
}

fn unusable(key: &str, file: &FilePath, reason: &dyn Display) -> Failure {
    Failure::Config(format!("relay.nats.tls.{key}: cannot use {file}: {reason}"))
}

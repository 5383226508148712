//! TLS: the credentials of the broker, handshakes with its clients, and one with the broker itself.

use std::fmt::Display;
use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::TlsConnector;
use tokio_rustls::client;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::DigitallySignedStruct;
use tokio_rustls::rustls::Error;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::SignatureScheme;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::client::danger::ServerCertVerified;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::crypto::verify_tls12_signature;
use tokio_rustls::rustls::crypto::verify_tls13_signature;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::pki_types::pem;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::sign::SingleCertAndKey;

use crate::access::Authorities;
use crate::config;
use crate::config::FilePath;
use crate::failure::Failure;
use crate::http::encrypted::Encrypted;

/// The only protocol that is spoken over TLS, as ALPN names it.
const HTTP: &[u8] = b"http/1.1";

/// TLS with clients. All clones use the same credentials.
#[derive(Clone)]
pub struct Tls(Arc<ArcSwap<ServerConfig>>);

impl Tls {
    /// TLS with these credentials.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self(Arc::new(ArcSwap::new(credentials.config)))
    }

    /// Uses other credentials for connections that are still to come.
    pub fn replace(&self, credentials: Credentials) {
        self.0.store(credentials.config);
    }

    /// Waits for the client's handshake.
    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<Encrypted<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(self.0.load_full()).accept(stream).await.map(Encrypted::new)
    }
}

/// What the files hold, checked: certificate, key, and whose certificates clients may show.
pub struct Credentials {
    config: Arc<ServerConfig>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Credentials {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// When one cannot be read, or used, or certificate and key do not belong together.
    pub fn read(files: &config::Tls) -> Result<Self, Failure> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::Internal(format!("cannot use TLS: {error}")))?;
        let clients = files.client_ca.as_ref().map(|file| clients(file, &provider)).transpose()?;
        let key = certified_key(files, &provider)?;
        let mut config = versions
            .with_client_cert_verifier(clients.clone().unwrap_or_else(WebPkiClientVerifier::no_client_auth))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.alpn_protocols = vec![HTTP.to_vec()];
        Ok(Self { config: Arc::new(config), clients })
    }

    /// Who vouches for the certificates of clients, if they may show any.
    #[must_use]
    pub fn authorities(&self) -> Option<Arc<dyn Authorities>> {
        Some(Arc::new(Clients(self.clients.clone()?)))
    }
}

/// What checks the certificates of clients.
#[derive(Debug)]
struct Clients(Arc<dyn ClientCertVerifier>);

impl Authorities for Clients {
    fn vouch_for(&self, chain: &[Box<[u8]>]) -> bool {
        let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(&**der)).collect();
        let Some((first, others)) = chain.split_first() else { return false };
        self.0.verify_client_cert(first, others, UnixTime::now()).is_ok()
    }
}

/// What checks the certificates of clients, by the authorities in `file`.
fn clients(file: &FilePath, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, Failure> {
    WebPkiClientVerifier::builder_with_provider(authorities(file)?, provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|error| unusable("client_ca", file, error))
}

/// The certificate with its key.
fn certified_key(files: &config::Tls, provider: &CryptoProvider) -> Result<CertifiedKey, Failure> {
    let chain = certificates("certificate", &files.certificate)?;
    let text = files.key.read("server.tls.key")?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            unusable("key", &files.key, "it has no private key that is not encrypted")
        }
        error => unusable("key", &files.key, in_words(&error)),
    })?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        Error::InconsistentKeys(_) => {
            let certificate = &files.certificate;
            unusable("key", &files.key, format!("it is not the key of the certificate in {certificate}"))
        }
        Error::InvalidCertificate(error) => unusable("certificate", &files.certificate, error),
        error => unusable("key", &files.key, error),
    })
}

fn authorities(file: &FilePath) -> Result<Arc<RootCertStore>, Failure> {
    let mut authorities = RootCertStore::empty();
    for certificate in certificates("client_ca", file)? {
        authorities.add(certificate).map_err(|error| unusable("client_ca", file, error))?;
    }
    Ok(Arc::new(authorities))
}

fn certificates(key: &str, file: &FilePath) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let text = file.read(&format!("server.tls.{key}"))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(key, file, in_words(&error)))?;
    if certificates.is_empty() {
        return Err(unusable(key, file, "it has no certificate"));
    }
    Ok(certificates)
}

/// What is wrong with the form of a file; what is in it may be secret, and is not repeated.
fn in_words(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "it ends before one of its parts does",
        _ => "it is not PEM",
    }
}

fn unusable(key: &str, file: &FilePath, reason: impl Display) -> Failure {
    Failure::Config(format!("server.tls.{key}: cannot use {file}: {reason}"))
}

/// A handshake as a client that takes whatever certificate it is shown.
///
/// It is for asking a broker on this machine for its health: which certificate that broker has to
/// show is its clients' affair, and need not name the address that is asked here.
pub(super) async fn connect_to_any<S>(stream: S) -> io::Result<client::TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Takes any certificate, as long as the server has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

//! Certificates, and a client that speaks TLS.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::Arc;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use tempfile::TempDir;
use tokio::net::TcpStream as AsyncTcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::ClientConnection;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::StreamOwned;
use tokio_rustls::rustls::SupportedProtocolVersion;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::version::TLS12;
use tokio_rustls::rustls::version::TLS13;

use super::http::connect;
use super::tunnel::Tunnel;

/// Both versions of the protocol.
pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// An authority that issues certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, in PEM.
    pub pem: String,
}

impl Authority {
    /// A new one, whom nobody knows.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A new certificate for a server or a client, and its key.
    pub fn issue(&self) -> Identity {
        self.issue_with(|_| {})
    }

    /// A new certificate, with what `change` makes of it, and its key.
    pub fn issue_with(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params =
            CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

/// A certificate and its key, in PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Identity {
    /// The certificate as it is shown in a handshake.
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()
    }
}

/// The files of a daemon that speaks TLS.
pub struct Files {
    folder: TempDir,
}

impl Files {
    /// Writes the certificate and the key of `identity`.
    pub fn of(identity: &Identity) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        files.replace(identity);
        files
    }

    /// Writes another certificate and another key.
    pub fn replace(&self, identity: &Identity) {
        self.write("certificate", &identity.certificate);
        self.write("key", &identity.key);
    }

    /// Writes the file `name`.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// The path of the file `name`.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// The arguments that name the files; with `client_ca`, that one too.
    pub fn arguments(&self, client_ca: bool) -> Vec<String> {
        ["certificate", "key", "client_ca"]
            .into_iter()
            .take(if client_ca { 3 } else { 2 })
            .flat_map(|name| ["--set".to_owned(), format!("server.tls.{name}={}", self.path(name))])
            .collect()
    }
}

/// A TLS stream of a client.
pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A client that trusts one authority, and may have a certificate.
#[derive(Clone)]
pub struct TlsClient(ClientConfig);

impl TlsClient {
    /// A client that speaks these versions.
    pub fn new(
        versions: &[&'static SupportedProtocolVersion],
        trusted: &Authority,
        own: Option<&Identity>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(trusted.pem.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        Self(match own {
            None => config.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![own.der()], key).unwrap()
            }
        })
    }

    /// This client, with these protocols in its ALPN.
    pub fn offering(mut self, protocols: &[&str]) -> Self {
        self.0.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Connects and completes the handshake, as far as the client can tell.
    pub fn connect(&self, address: SocketAddr) -> io::Result<Stream> {
        self.over(connect(address))
    }

    /// Completes the handshake over a connection that is open already.
    pub fn over(&self, mut stream: TcpStream) -> io::Result<Stream> {
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut connection = ClientConnection::new(Arc::new(self.0.clone()), name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(connection, stream))
    }

    /// A tunnel through TLS to `address`.
    pub fn tunnel(&self, address: SocketAddr) -> Tunnel {
        let connector = TlsConnector::from(Arc::new(self.0.clone()));
        Tunnel::open(move || {
            let connector = connector.clone();
            async move {
                let stream = AsyncTcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                connector.connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await
            }
        })
    }
}

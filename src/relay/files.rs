//! Files that say whom to trust at a relay, and who this node is there.

use std::fmt::Display;
use std::sync::Arc;

use rustls_native_certs::load_native_certs;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::Error;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::config::FilePath;
use crate::config::RelayTls;
use crate::failure::Failure;

/// What encrypts, made from what is in the files now.
pub(super) fn connector(section: &str, config: Option<&RelayTls>) -> Result<TlsConnector, Failure> {
    let at = |key: &str| format!("{section}.{key}");
    let internal = |error: &dyn Display| Failure::Internal(format!("cannot use TLS: {error}"));
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| internal(&error))?
        .with_root_certificates(trusted(section, config.and_then(|config| config.ca.as_ref()))?);
    let own = config.and_then(|config| Some((config.certificate.as_ref()?, config.key.as_ref()?)));
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(&at("certificate"), certificate)?;
            let text = key.read(&at("key"))?;
            let none = "it has no private key in PEM that is not encrypted";
            let own = PrivateKeyDer::from_pem_slice(&text).map_err(|_| unusable(&at("key"), key, &none))?;
            builder.with_client_auth_cert(chain, own).map_err(|error| match error {
                Error::InvalidCertificate(_) => unusable(&at("certificate"), certificate, &error),
                _ => unusable(&at("key"), key, &error),
            })?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn trusted(section: &str, file: Option<&FilePath>) -> Result<RootCertStore, Failure> {
    let mut trusted = RootCertStore::empty();
    match file {
        // One that cannot be used is no reason to trust none of the others.
        None => drop(trusted.add_parsable_certificates(load_native_certs().certs)),
        Some(file) => {
            let key = format!("{section}.ca");
            for certificate in certificates(&key, file)? {
                trusted.add(certificate).map_err(|error| unusable(&key, file, &error))?;
            }
        }
    }
    Ok(trusted)
}

fn certificates(key: &str, file: &FilePath) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let text = file.read(key)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_| unusable(key, file, &"it is not PEM"))?;
    if certificates.is_empty() {
        return Err(unusable(key, file, &"it has no certificate"));
    }
    Ok(certificates)
}

/// The text of a file with a secret, none of which is repeated.
pub(super) fn text(key: &str, file: &FilePath) -> Result<String, Failure> {
    String::from_utf8(file.read(key)?).map_err(|_| unusable(key, file, &"it is not text in UTF-8"))
}

/// The password in a file, which is all of it but the end of the line.
pub(super) fn password(key: &str, file: &FilePath) -> Result<String, Failure> {
    Ok(text(key, file)?.trim_end_matches(['\r', '\n']).to_owned())
}

/// The file that `key` names is of no use, for this reason.
pub(super) fn unusable(key: &str, file: &FilePath, reason: &dyn Display) -> Failure {
    Failure::Config(format!("{key}: cannot use {file}: {reason}"))
}

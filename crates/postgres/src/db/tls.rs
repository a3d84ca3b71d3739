//! TLS: whom it trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Identity;
use crate::error::{Error, ErrorKind};

/// How TLS connects.
pub(super) type Tls = MakeRustlsConnect;

/// What is looked at in the server's certificate, as libpq names it in `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// `prefer`, `require`: the connection is encrypted, with whomever.
    Anything,
    /// `verify-ca`: somebody trusted issued it.
    Issuer,
    /// `verify-full`: and for this host.
    IssuerAndName,
}

/// The settings of TLS in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) trust: Trust,
    /// Certificates that are trusted in place of the system's.
    pub(super) roots: Option<PathBuf>,
    /// The certificate that we show.
    pub(super) identity: Option<Identity>,
}

/// # Errors
/// `Refused`: there is no certificate to trust.
pub(super) fn connector(settings: &Settings) -> Result<Tls, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let issuer = match settings.trust {
        Trust::Anything => None,
        Trust::Issuer | Trust::IssuerAndName => Some(verifier(settings, &provider)?),
    };
    let names = settings.trust == Trust::IssuerAndName;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&format!("{error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { issuer, names, algorithms }));
    let config = match &settings.identity {
        None => config.with_no_client_auth(),
        Some(Identity { certificate_file, key_file }) => {
            let (chain, key) = (certificates(certificate_file)?, private_key(key_file)?);
            let own = config.with_client_auth_cert(chain, key);
            own.map_err(|error| {
                refused(&format!(
                    "the certificate of {} with the key of {}: {error}",
                    certificate_file.display(),
                    key_file.display()
                ))
            })?
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

fn verifier(settings: &Settings, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, Error> {
    let roots = match &settings.roots {
        Some(file) => from_file(file)?,
        None => of_the_system()?,
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    verifier.build().map_err(|error| refused(&format!("{error}")))
}

/// Looks at what [`Trust`] says, and at signatures always.
#[derive(Debug)]
struct Verifier {
    issuer: Option<Arc<WebPkiServerVerifier>>,
    names: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(issuer) = &self.issuer else { return Ok(ServerCertVerified::assertion()) };
        let verified = issuer.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is looked at last: everything else was right.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.names => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn from_file(file: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| unreadable(file, &error))?;
    }
    Ok(roots)
}

/// The certificates of a file, one at least.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found = CertificateDer::pem_file_iter(file).map_err(|error| unreadable(file, &error))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| unreadable(file, &error))?;
    if found.is_empty() { Err(unreadable(file, &"there are none")) } else { Ok(found) }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_file(file)
        .map_err(|error| refused(&format!("reading the private key of {}: {error}", file.display())))
}

fn unreadable(file: &Path, why: &dyn std::fmt::Display) -> Error {
    refused(&format!("reading certificates of {}: {why}", file.display()))
}

fn of_the_system() -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // The system holds some that nobody needs and that cannot be read.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(|| "there are none".to_owned(), ToString::to_string);
        return Err(refused(&format!("the certificates of the system: {why}; name a file (sslrootcert)")));
    }
    Ok(roots)
}

fn refused(why: &str) -> Error {
    Error::new(ErrorKind::Refused, format!("TLS to the database: {why}"))
}

//! The way to the broker: TCP, or TLS over it.

use std::error::Error as StdError;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::{Error, ErrorKind};
use crate::options::Options;

/// What bytes go over.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// How sockets are opened.
pub(crate) struct Opener {
    /// With the name that the broker's certificate has to be for.
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Opener {
    /// Reads the certificates that the broker's is checked against, if it is.
    ///
    /// # Errors
    /// `Invalid`: there are none, or the host is no name for a certificate.
    pub(crate) fn new(options: &Options) -> Result<Self, Error> {
        let Some(tls) = &options.tls else { return Ok(Self { tls: None }) };
        let host = &options.host;
        let name = ServerName::try_from(host.clone());
        let name = name.map_err(|err| invalid(format!("{host} is no name for a certificate: {err}")))?;
        let roots = match &tls.ca {
            Some(file) => from_file(file)?,
            None => of_the_system()?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|err| invalid(format!("TLS: {err}")))?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { tls: Some((TlsConnector::from(Arc::new(config)), name)) })
    }

    /// Opens a socket.
    ///
    /// # Errors
    /// `Unavailable`: nobody answers. `Refused`: the certificate is not one that we trust.
    pub(crate) async fn open(&self, options: &Options) -> Result<Box<dyn Socket>, Error> {
        let (host, port) = (options.host.as_str(), options.port);
        let stream = TcpStream::connect((host, port)).await;
        let stream =
            stream.map_err(|err| Error::unavailable(format!("connecting to {host}:{port}: {err}")))?;
        // An acknowledgement is small and has to go at once; without it only slower.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(mqtt.connection = %options.name, %error, "the delay of small packets stays");
        }
        let Some((tls, name)) = &self.tls else { return Ok(Box::new(stream)) };
        match tls.connect(name.clone(), stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(err) if err.get_ref().is_some_and(<dyn StdError + Send + Sync>::is::<rustls::Error>) => {
                Err(Error::new(ErrorKind::Refused, format!("TLS with {host}:{port}: {err}")))
            }
            Err(err) => Err(Error::unavailable(format!("TLS with {host}:{port}: {err}"))),
        }
    }
}

fn from_file(file: &Path) -> Result<RootCertStore, Error> {
    let wrong =
        |err: &dyn std::fmt::Display| invalid(format!("reading certificates of {}: {err}", file.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|err| wrong(&err))? {
        roots.add(certificate.map_err(|err| wrong(&err))?).map_err(|err| wrong(&err))?;
    }
    if roots.is_empty() { Err(wrong(&"there are none")) } else { Ok(roots) }
}

fn of_the_system() -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // The system holds some that nobody needs and that cannot be read.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(|| "there are none".to_owned(), ToString::to_string);
        return Err(invalid(format!("the certificates of the system: {why}; name a file (ca)")));
    }
    Ok(roots)
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

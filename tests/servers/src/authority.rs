//! Certificates of a test's own.

use std::path::PathBuf;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use tempfile::TempDir;

/// An authority that exists for one test, with the files (PEM) of what it signed.
pub struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate that was signed, and its private key.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file.
    pub key: PathBuf,
}

impl Authority {
    /// A new one, which nobody trusts yet.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = named("test authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        std::fs::write(folder.path().join("ca.pem"), issuer.pem())?;
        Ok(Self { folder, issuer })
    }

    /// The file of its own certificate, by which it is trusted.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Signs a certificate for this name or address.
    pub fn sign(&self, host: &str) -> Result<Signed> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.distinguished_name = named(host);
        let signed = Signed {
            certificate: self.folder.path().join(format!("{host}.pem")),
            key: self.folder.path().join(format!("{host}.key")),
        };
        std::fs::write(&signed.certificate, params.signed_by(&key, &self.issuer)?.pem())?;
        std::fs::write(&signed.key, key.serialize_pem())?;
        Ok(signed)
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

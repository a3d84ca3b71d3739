//! TLS: whose certificate is trusted.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use orderwire_mqtt::{ErrorKind, Options, Service, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::broker::Broker;
use crate::support::{Memory, Running, VERSIONS, options};

/// An authority that exists for one test.
fn authority() -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// A broker that speaks TLS alone, with the file of its authority and one of another.
fn broker() -> Result<(Broker, PathBuf, PathBuf)> {
    let mut broker =
        Broker::start_with("allow_anonymous true\ncertfile FOLDER/cert.pem\nkeyfile FOLDER/key.pem\n")?;
    let folder = broker.folder.path().to_owned();
    let (authority, other) = (authority()?, authority()?);
    let key = KeyPair::generate()?;
    let cert = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &authority)?;
    std::fs::write(folder.join("cert.pem"), cert.pem())?;
    std::fs::write(folder.join("key.pem"), key.serialize_pem())?;
    let (ours, others) = (folder.join("ca.pem"), folder.join("other.pem"));
    std::fs::write(&ours, authority.pem())?;
    std::fs::write(&others, other.pem())?;
    broker.start()?;
    Ok((broker, ours, others))
}

#[tokio::test]
async fn a_broker_is_trusted_by_its_authority_alone() -> Result<()> {
    let (broker, ours, others) = broker()?;
    for version in VERSIONS {
        let with = |ca: Option<PathBuf>| Options {
            tls: Some(Tls { ca }),
            host: "localhost".to_owned(),
            ..options(broker.port, version)
        };
        let running = Running::start(with(Some(ours.clone())), Memory::open())?.ready().await?;
        running.stop().await?;
        let running = Running::start(with(Some(others.clone())), Memory::open())?;
        running.until(|is| matches!(is, Err(why) if why.contains("TLS"))).await?;
        running.stop().await?;
    }
    Ok(())
}

#[test]
fn a_file_without_certificates_is_a_fault_of_the_settings() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "")?;
    for ca in [empty, folder.path().join("none.pem")] {
        let options = Options { tls: Some(Tls { ca: Some(ca) }), ..options(1, VERSIONS[0]) };
        let refused = Service::new(options, Memory::open()).err().map(|error| error.kind());
        ensure!(refused == Some(ErrorKind::Invalid), "{refused:?}");
    }
    Ok(())
}

//! TLS: whose certificate is trusted.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use orderwire_mqtt::{ErrorKind, Options, Service, Tls};
use orderwire_servers::mosquitto::Mosquitto;
use orderwire_servers::{Authority, Signed};

use crate::support::{Memory, Running, VERSIONS, options};

#[tokio::test]
async fn a_broker_is_trusted_by_its_authority_alone() -> Result<()> {
    let (ours, other) = (Authority::new()?, Authority::new()?);
    let Signed { certificate, key } = ours.sign("localhost")?;
    let broker = Mosquitto::started_with(&format!(
        "allow_anonymous true\ncertfile {}\nkeyfile {}\n",
        certificate.display(),
        key.display()
    ))?;
    for version in VERSIONS {
        let with = |ca: PathBuf| Options {
            tls: Some(Tls { ca: Some(ca) }),
            host: "localhost".to_owned(),
            ..options(broker.port(), version)
        };
        let running = Running::start(with(ours.file()), Memory::open())?.ready().await?;
        running.stop().await?;
        let running = Running::start(with(other.file()), Memory::open())?;
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

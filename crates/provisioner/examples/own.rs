//! Who owns a target `process`, as a program that tests may kill: applies the
//! manifests of its second argument as the release of its third in the folder of its
//! first, with the program of its fourth and a grace of so many seconds as its fifth
//! says, and stops when it reads a line.

use std::time::Duration;

use orderwire_provisioner::target::{Desired, Grant, Placement, Target};
use orderwire_provisioner::targets::process::{BEAT, ProcessOptions, ProcessTarget};
use orderwire_types::TraceId;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, manifests, release, program, grace] = arguments.as_slice() else {
        return Err("FOLDER MANIFESTS RELEASE PROGRAM GRACE".into());
    };
    let release = release.parse()?;
    let target = ProcessTarget::new(ProcessOptions {
        folder: folder.into(),
        program: program.into(),
        supervise: vec!["supervise".to_owned()],
        memory: 1 << 30,
        grace: Duration::from_secs(grace.parse()?),
        beat: BEAT,
    });
    let placement = Placement {
        release,
        client: "acme".parse()?,
        environment: "dev".to_owned(),
        name: "a".to_owned(),
        product: "sample".to_owned(),
        namespace: "acme".to_owned(),
    };
    let desired = Desired {
        revision: 1,
        trace: TraceId::from_uuid(release),
        manifests: serde_json::from_str(manifests)?,
        patience: Duration::from_secs(10),
    };
    target.apply(&placement, &desired, &Grant { values: vec![] }).await?;
    println!("applied");
    tokio::io::AsyncBufReadExt::read_line(
        &mut tokio::io::BufReader::new(tokio::io::stdin()),
        &mut String::new(),
    )
    .await?;
    target.stop().await;
    Ok(())
}

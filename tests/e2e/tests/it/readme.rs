//! What the README tells a newcomer to type works as it stands there.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::{Server, Start, binary};

const CHECKOUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The commands of a section, block by block.
fn blocks<'r>(readme: &'r str, section: &str) -> Result<Vec<&'r str>> {
    let (_, rest) = readme.split_once(&format!("\n## {section}\n")).context("the section")?;
    let section = rest.split("\n## ").next().unwrap_or(rest);
    let block = |rest: &'r str| rest.split_once("\n```").map(|(block, _)| block).context("a block ends");
    section.split("```sh\n").skip(1).map(block).collect()
}

#[tokio::test]
async fn the_commands_of_your_own_data_work_as_they_stand() -> Result<()> {
    let readme = std::fs::read_to_string(Path::new(CHECKOUT).join("README.md"))?;
    let blocks = blocks(&readme, "Your own data")?;
    let [install, start, script] = blocks[..] else { anyhow::bail!("three blocks: {blocks:#?}") };
    let package = install.strip_prefix("cargo install --path ").context("what to install")?;
    let package = package.split(' ').next().unwrap_or(package);
    ensure!(Path::new(CHECKOUT).join(package).join("Cargo.toml").exists(), "there is no {package}");
    ensure!(start == "orderwire up", "{start}");

    // The folder that the server makes, what it reads, and the installed command.
    let folder = tempfile::tempdir()?;
    let (data, path) = (folder.path().join("orderwire-data"), folder.path().join("bin"));
    std::fs::create_dir(&path)?;
    std::os::unix::fs::symlink(binary(), path.join("orderwire"))?;
    std::os::unix::fs::symlink(
        Path::new(CHECKOUT).canonicalize()?.join("examples"),
        folder.path().join("examples"),
    )?;
    // An answer of 4xx or 5xx fails a curl, which it does not by itself.
    std::fs::write(folder.path().join(".curlrc"), "fail-with-body\nsilent\nshow-error\n")?;

    let server = Server::start(&data, &Start::default())?;
    // Another port than the usual one, which may be in use.
    ensure!(script.contains("localhost:8080"));
    let script = script.replace("localhost:8080", server.url.trim_start_matches("http://"));
    let inherited = std::env::var("PATH")?;
    let output = Command::new("sh")
        .args(["-eux", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", format!("{}:{inherited}", path.display()))
        .env("CURL_HOME", folder.path())
        .env("ORDERWIRE_SERVER", &server.url)
        .env_remove("ORDERWIRE_API_KEY")
        .env_remove("ORDERWIRE_DATA")
        .stdin(Stdio::null())
        .output()?;
    let (shown, said) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success(), "{}\n{said}\n{shown}", output.status);
    for part in ["1,200 rows", "\"no2\":679.2", "shop.order.created", "attempt", "state done"] {
        ensure!(shown.contains(part), "{part:?} is missing in\n{shown}\n{said}");
    }
    server
        .until("/rest/numbers?select=n&order=n", |rows| *rows == serde_json::json!([{"n": 1}, {"n": 2}]))
        .await?;
    ensure!(server.stop()?.success());
    Ok(())
}

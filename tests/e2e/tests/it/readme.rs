//! What the READMEs tell a newcomer to type works as it stands there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use orderwire_e2e::{Server, Start, binary};
use serde_json::json;

#[tokio::test]
async fn the_commands_of_your_own_data_work_as_they_stand() -> Result<()> {
    let readme = std::fs::read_to_string(checkout()?.join("README.md"))?;
    let (_, rest) = readme.split_once("\n## Your own data\n").context("the section")?;
    let blocks = blocks(rest.split("\n## ").next().unwrap_or(rest))?;
    let [install, start, script] = blocks[..] else { bail!("three blocks: {blocks:#?}") };
    let package = install.strip_prefix("cargo install --path ").context("what to install")?;
    let package = package.split(' ').next().unwrap_or(package);
    ensure!(checkout()?.join(package).join("Cargo.toml").exists(), "there is no {package}");
    ensure!(start == "orderwire up", "{start}");

    let site = Site::start(&[])?;
    let shown = site.type_in(script, "localhost:8080")?;
    for part in ["1,200 rows", "\"no2\":679.2", "shop.order.created", "attempt", "state done"] {
        ensure!(shown.contains(part), "{part:?} is missing in\n{shown}");
    }
    let numbers = json!([{"n": 1}, {"n": 2}]);
    site.server.until("/rest/numbers?select=n&order=n", |rows| *rows == numbers).await?;
    ensure!(site.server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn the_commands_of_the_example_work_as_they_stand() -> Result<()> {
    let readme = std::fs::read_to_string(checkout()?.join("examples/air-quality/README.md"))?;
    let blocks = blocks(&readme)?;
    let [start, scripts @ ..] = &blocks[..] else { bail!("no block") };
    let (_, flags) = start.split_once("\norderwire up ").context("how to start")?;
    ensure!(scripts.len() == 3, "three blocks: {scripts:#?}");

    let site = Site::start(&flags.split(' ').collect::<Vec<_>>())?;
    let shown = site.type_in(&scripts.join("\n"), "127.0.0.1:8080")?;
    for part in [
        "{\"air-station-01\":{\"values\":[",
        "\"cache\": false}",
        "\"no2\":679.2",
        "TimeInstant,id_entity,so2",
    ] {
        ensure!(shown.contains(part), "{part:?} is missing in\n{shown}");
    }
    ensure!(site.server.stop()?.success());
    Ok(())
}

pub(crate) fn checkout() -> Result<PathBuf> {
    Ok(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).canonicalize()?)
}

/// What is to be typed, block by block.
fn blocks(text: &str) -> Result<Vec<&str>> {
    let block = |rest: &'_ str| rest.find("\n```").context("a block ends");
    text.split("```sh\n").skip(1).map(|rest| Ok(&rest[..block(rest)?])).collect()
}

/// A folder in which a newcomer may stand, with a server that was started there.
struct Site {
    server: Server,
    folder: tempfile::TempDir,
}

impl Site {
    fn start(flags: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let commands = folder.path().join("bin");
        std::fs::create_dir(&commands)?;
        std::os::unix::fs::symlink(binary(), commands.join("orderwire"))?;
        std::os::unix::fs::symlink(checkout()?.join("examples"), folder.path().join("examples"))?;
        // An answer of 4xx or 5xx fails a curl, which it does not by itself.
        std::fs::write(folder.path().join(".curlrc"), "fail-with-body\nsilent\nshow-error\n")?;
        // Paths in flags are meant from the folder.
        let flag = |flag: &&str| match flag.strip_prefix("examples/") {
            Some(_) => folder.path().join(flag).to_string_lossy().into_owned(),
            None => (*flag).to_owned(),
        };
        let start = Start { flags: flags.iter().map(flag).collect(), ..Start::default() };
        let server = Server::start(&folder.path().join("orderwire-data"), &start)?;
        Ok(Self { server, folder })
    }

    /// Types in commands, with the address that they name replaced by the
    /// server's own: the usual port may be in use. Every one must succeed.
    fn type_in(&self, script: &str, address: &str) -> Result<String> {
        ensure!(script.contains(address), "{address} is not in\n{script}");
        let script = script.replace(address, self.server.url.trim_start_matches("http://"));
        let commands = self.folder.path().join("bin");
        let output = Command::new("sh")
            .args(["-eux", "-c", &script])
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{}", commands.display(), std::env::var("PATH")?))
            .env("CURL_HOME", self.folder.path())
            .env("ORDERWIRE_SERVER", &self.server.url)
            .env_remove("ORDERWIRE_API_KEY")
            .env_remove("ORDERWIRE_DATA")
            .stdin(Stdio::null())
            .output()?;
        let (shown, said) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        ensure!(output.status.success(), "{}\n{said}\n{shown}", output.status);
        Ok(shown)
    }
}

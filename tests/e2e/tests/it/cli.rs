//! The commands against a real server: what they do, what they say when
//! something is wrong, and with which exit code.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::{Ran, Server, Start, binary, run};
use serde_json::Value;

const MEASURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/air-quality/measures.csv");

/// A server and its folder.
pub(crate) struct Site {
    pub(crate) server: Server,
    start: Start,
    folder: tempfile::TempDir,
}

impl Site {
    pub(crate) fn start() -> Result<Self> {
        Self::started(&Start::default())
    }

    /// With a server that is started like this.
    pub(crate) fn started(start: &Start) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Server::start(&folder.path().join("data"), start)?;
        Ok(Self { server, start: start.clone(), folder })
    }

    /// A command with the server's own key.
    pub(crate) fn run(&self, words: &[&str]) -> Result<Ran> {
        let data = self.folder.path().join("data");
        let data = data.to_string_lossy();
        let mut all = vec!["--server", &self.server.url, "--data", &data];
        all.extend(words);
        run(&all)
    }

    /// A command that succeeds and prints JSON.
    pub(crate) fn json(&self, words: &[&str]) -> Result<Value> {
        let mut all = vec!["--output", "json"];
        all.extend(words);
        let ran = self.run(&all)?;
        ensure!(ran.code == 0, "{words:?}: {ran:?}");
        serde_json::from_str(&ran.stdout).with_context(|| format!("{words:?}: {ran:?}"))
    }

    /// A command that is not waited for.
    pub(crate) fn spawn(&self, words: &[&str]) -> Result<Child> {
        let key = ["--server", &self.server.url, "--key", &self.server.key];
        let command = [&key[..], words].concat();
        let null = Stdio::null;
        Ok(Command::new(binary()).args(command).stdin(null()).stdout(null()).stderr(null()).spawn()?)
    }

    /// The same site after the server was killed and started again.
    pub(crate) fn killed(self) -> Result<Self> {
        self.server.kill()?;
        let Self { start, folder, .. } = self;
        let server = Server::start(&folder.path().join("data"), &start)?;
        Ok(Self { server, start, folder })
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> Result<String> {
        self.bytes(name, content.as_bytes())
    }

    pub(crate) fn bytes(&self, name: &str, content: &[u8]) -> Result<String> {
        let path = self.path(name);
        std::fs::File::create(&path)?.write_all(content)?;
        Ok(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }
}

pub(crate) fn fails(ran: &Ran, code: i32, words: &[&str]) -> Result<()> {
    ensure!(ran.code == code, "wanted {code}: {ran:?}");
    for word in words {
        ensure!(ran.stderr.contains(word), "{word:?} is missing: {ran:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_file_is_imported_once_and_comes_out_again() -> Result<()> {
    let site = Site::start()?;
    let asked = site.run(&["dataset", "import", "air", MEASURES])?;
    fails(&asked, 2, &["--yes", "TimeInstant", "timestamp (time)", "float"])?;
    let first = site.json(&["dataset", "import", "air", MEASURES, "--yes"])?;
    ensure!(first["rows"] == 1_200 && first["added"] == 1_200 && first["already_there"] == 0, "{first}");
    let trace = site.json(&["trace", first["trace_id"].as_str().context("a trace")?])?;
    ensure!(trace["state"] == "done", "{trace}");
    let again = site.json(&["dataset", "import", "air", MEASURES])?;
    ensure!(again["added"] == 0 && again["already_there"] == 1_200, "{again}");
    let said = site.run(&["dataset", "import", "air", MEASURES])?;
    ensure!(said.code == 0 && said.stdout.contains("nothing to add"), "{said:?}");

    // Out and in again under another name: the same rows.
    let out = site.folder.path().join("out.ndjson");
    let out = out.to_string_lossy();
    let exported = site.json(&["dataset", "export", "air", &out])?;
    ensure!(exported["rows"] == 1_200, "{exported}");
    let copy = site.json(&["dataset", "import", "copy", &out, "--yes"])?;
    ensure!(copy["added"] == 1_200, "{copy}");
    let (a, b) = (site.run(&["dataset", "export", "air"])?, site.run(&["dataset", "export", "copy"])?);
    ensure!(a.code == 0 && a.stdout == b.stdout, "the copy differs");
    let some = site.run(&["dataset", "export", "air", "--where", "no2=gt.200"])?;
    ensure!(some.stdout.lines().count() == 6, "{some:?}");
    ensure!(site.server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_file_of_several_pieces_goes_on_where_it_was() -> Result<()> {
    let site = Site::start()?;
    let rows = 5_500;
    let mut csv = String::from("n,name\n");
    (0..rows).for_each(|n| csv.push_str(&format!("{n},\"a\nb\"\n")));
    let path = site.file("big.csv", &csv)?;
    let def = ["dataset", "create", "big", "--field", "n:integer!", "--field", "name:text"];
    site.json(&def)?;
    // The first piece is there already, as after an import that was stopped.
    let sha = sha256_of(Path::new(&path))?;
    let lines: Vec<String> = (0..2_000).map(|n| format!("{{\"n\":{n},\"name\":\"a\\nb\"}}")).collect();
    let url = format!("{}/v1/datasets/big/rows?import={sha}&first=0", site.server.url);
    let request = site.server.http.post(url).header("content-type", "application/x-ndjson");
    let status = request.body(lines.join("\n")).send().await?.status();
    ensure!(status == 202, "{status}");
    let state = format!("/v1/datasets/big/imports/{sha}");
    site.server.until(&state, |state| state["rows"] == 2_000).await?;
    let summary = site.json(&["dataset", "import", "big", &path])?;
    ensure!(summary["already_there"] == 2_000 && summary["added"] == 3_500, "{summary}");
    let found = site.server.get("/rest/big?select=n&order=n.asc").await?;
    let numbers: Vec<i64> =
        found.as_array().context("rows")?.iter().filter_map(|row| row["n"].as_i64()).collect();
    ensure!(numbers == (0..rows).collect::<Vec<_>>(), "{} rows", numbers.len());
    ensure!(site.server.stop()?.success());
    Ok(())
}

fn sha256_of(path: &Path) -> Result<String> {
    let output = Command::new("sha256sum").arg(path).output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split_whitespace().next().context("a hash")?.to_owned())
}

#[tokio::test]
async fn faulty_files_are_told_by_line_and_import_nothing() -> Result<()> {
    let site = Site::start()?;
    site.json(&["dataset", "create", "air", "--field", "at:timestamp!", "--field", "no2:float"])?;
    let csv = "at,no2\r\n2026-11-01T00:00:00Z,1\r\n2026-11-01T01:00:00Z,much\r\n";
    let ran = site.run(&["dataset", "import", "air", &site.file("bad.csv", csv)?])?;
    fails(&ran, 7, &["line 3: /no2", "nothing was imported"])?;
    let ran = site.run(&["-o", "json", "dataset", "import", "air", &site.file("bad.csv", csv)?])?;
    let error: Value = serde_json::from_str(&ran.stderr)?;
    ensure!(error["code"] == 7 && error["faults"][0]["line"] == 3, "{error}");
    let ran = site.run(&["dataset", "import", "air", &site.file("x.csv", "at,other\n1,2\n")?])?;
    fails(&ran, 7, &["line 1", "other"])?;
    let ndjson = "{\"at\":\"2026-11-01T00:00:00Z\"}\n\n{\"at\":1}\n{\"at\"";
    let ran = site.run(&["dataset", "import", "air", &site.file("bad.ndjson", ndjson)?])?;
    fails(&ran, 7, &["line 3: /at", "line 4"])?;
    let cut = "at,no2\n2026-11-01T00:00:00Z,1\n2026-11-01T01:00:00Z,\"2\n";
    let ran = site.run(&["dataset", "import", "air", &site.file("cut.csv", cut)?])?;
    fails(&ran, 7, &["line 3: a quote opens here", "nothing was imported"])?;
    fails(&site.run(&["dataset", "import", "air", &site.file("e.csv", "")?])?, 7, &["is empty"])?;
    fails(&site.run(&["dataset", "import", "air", "/nowhere/x.csv"])?, 3, &["/nowhere/x.csv"])?;
    let rows = site.server.get("/rest/air").await?;
    ensure!(rows.as_array().is_some_and(Vec::is_empty), "{rows}");
    ensure!(site.server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn faults_have_a_sentence_and_a_code() -> Result<()> {
    let site = Site::start()?;
    fails(
        &run(&["--server", "http://127.0.0.1:1", "--key", "x", "queue", "list"])?,
        6,
        &["orderwire up", "--server"],
    )?;
    fails(&site.run(&["--key", "wrong", "queue", "list"])?, 4, &["--key"])?;
    let nowhere = site.folder.path().join("nowhere");
    let keyless =
        run(&["--server", &site.server.url, "--data", &nowhere.to_string_lossy(), "queue", "list"])?;
    fails(&keyless, 4, &["ORDERWIRE_API_KEY", "admin.key"])?;
    for words in [&["dataset", "export", "nowhere"][..], &["queue", "show", "nowhere"], &["trace", "nowhere"]]
    {
        fails(&site.run(words)?, 3, &["nowhere"])?;
    }
    fails(&site.run(&["event", "publish", "--type", "zz.nobody", "{}"])?, 7, &["zz.nobody"])?;
    fails(&site.run(&["event", "publish", "--type", "zz.nobody", "{"])?, 7, &[])?;
    fails(&site.run(&["dead", "discard"])?, 2, &["--all"])?;
    fails(&site.run(&["queue", "lease", "data"])?, 5, &["data"])?;
    ensure!(site.server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn an_event_is_published_leased_settled_replayed_and_traced() -> Result<()> {
    let site = Site::start()?;
    site.json(&["queue", "create", "work", "--type", "work.#", "--attempts", "1"])?;
    let event = site.json(&["event", "publish", "--type", "work.one", r#"{"n":9007199254740993}"#])?;
    let peeked = site.run(&["queue", "peek", "work"])?;
    ensure!(peeked.stdout.contains("9007199254740993"), "{peeked:?}");
    let followed = site.run(&["event", "tail", "work", "--max", "1"])?;
    ensure!(followed.code == 0 && followed.stdout.contains("9007199254740993"), "{followed:?}");
    let lease = || -> Result<String> {
        let leased = site.json(&["queue", "lease", "work", "--wait-ms", "5000"])?;
        Ok(leased["deliveries"][0]["delivery_id"].as_str().context("a delivery")?.to_owned())
    };
    site.json(&["queue", "nack", "work", &lease()?, "--fail", "--cause", "it is poison"])?;
    let dead = site.json(&["dead", "list", "--cause", "poison"])?;
    ensure!(dead["items"].as_array().is_some_and(|all| all.len() == 1), "{dead}");
    let counted = site.json(&["dead", "replay", "--queue", "work", "--dry-run"])?;
    ensure!(counted["count"] == 1 && counted["dry_run"] == true, "{counted}");
    site.json(&["dead", "replay", "--all"])?;
    let delivery = lease()?;
    site.json(&["queue", "ack", "work", &delivery])?;
    fails(&site.run(&["queue", "ack", "work", &delivery])?, 5, &[])?;
    let trace = site.run(&["trace", event["trace_id"].as_str().context("a trace")?])?;
    for step in ["accepted", "queued", "it is poison", "replayed", "state done"] {
        ensure!(trace.stdout.contains(step), "{step}: {trace:?}");
    }
    ensure!(site.server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_key_is_shown_once_and_revoked_for_good() -> Result<()> {
    let site = Site::start()?;
    let made = site.json(&["key", "create", "reader", "--role", "read", "--for-client", "acme"])?;
    let (key, id) = (made["key"].as_str().context("a key")?, made["id"].as_str().context("an id")?);
    ensure!(site.run(&["--key", key, "dataset", "list"])?.code == 0);
    fails(&site.run(&["--key", key, "key", "list"])?, 4, &["right"])?;
    let listed = site.run(&["key", "list"])?;
    ensure!(listed.stdout.contains(id) && !listed.stdout.contains(key), "{listed:?}");
    site.json(&["key", "revoke", id])?;
    fails(&site.run(&["--key", key, "dataset", "list"])?, 4, &["--key"])?;
    ensure!(site.server.stop()?.success());
    Ok(())
}

#[test]
fn what_needs_no_server_works_without_one() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("default.yaml");
    std::fs::write(&config, run(&["config", "default"])?.stdout)?;
    let config = config.to_string_lossy();
    let data = folder.path().join("data");
    let checked = run(&["--data", &data.to_string_lossy(), "check", "--config", &config])?;
    ensure!(checked.code == 0 && checked.stdout.contains("sound"), "{checked:?}");
    std::fs::write(&*config, "viewz: 1\nlisten: nowhere\n")?;
    fails(&run(&["check", "--config", &config])?, 7, &["viewz", "default.yaml:2"])?;
    let report: Value = serde_json::from_str(&run(&["-o", "json", "check", "--config", &config])?.stdout)?;
    ensure!(
        report["valid"] == false && report["faults"].as_array().is_some_and(|all| all.len() == 2),
        "{report}"
    );
    serde_json::from_str::<Value>(&run(&["config", "schema"])?.stdout)?;
    ensure!(run(&["completions", "bash"])?.stdout.contains("_orderwire"));
    ensure!(run(&["man"])?.stdout.contains(".TH orderwire"));
    Ok(())
}

#[test]
fn check_refuses_what_up_refuses_in_the_same_words() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (config, data) = (folder.path().join("orderwire.yaml"), folder.path().join("data"));
    std::fs::write(
        &config,
        "datasets:
  air: {fields: [{name: n, type: integer}, {name: raw, type: json}]}
views:
  typed: {path: /typed, dataset: air, filter: n=eq.x}
  like: {path: /like, dataset: air, filter: n=like.1*}
  group: {path: /group, dataset: air, shape: grouped, group_by: raw}
  tree: {path: /tree, dataset: air, filter: 'or=(n.eq.1'}
  nul: {path: /nul, dataset: air, filter: n=eq.%00}
  order: {path: /order, dataset: air, order: 'n,'}
",
    )?;
    let (config, data) = (config.to_string_lossy(), data.to_string_lossy());
    let flags = ["--data", &data, "--config", &config];
    let up = run(&[&["up", "--listen", "127.0.0.1:0"], &flags[..]].concat())?;
    let check = run(&[&["check"], &flags[..]].concat())?;
    let connect = run(&[&["check", "--connect"], &flags[..]].concat())?;
    ensure!((up.code, check.code, connect.code) == (7, 7, 7), "{up:?} {check:?} {connect:?}");
    let said = |ran: &Ran| -> Vec<String> {
        ran.stderr.lines().filter(|line| line.contains("orderwire.yaml:")).map(str::to_owned).collect()
    };
    ensure!(said(&up).len() == 6, "one fault of each view: {up:?}");
    ensure!(said(&up) == said(&check) && said(&check) == said(&connect), "{up:?} {check:?} {connect:?}");
    ensure!(!Path::new(&*data).exists(), "nothing was made");
    let json = run(&[&["-o", "json", "check"], &flags[..]].concat())?;
    let report: Value = serde_json::from_str(&json.stdout)?;
    let first = &report["faults"][0];
    ensure!(json.code == 7 && first["key"] == "views.typed.filter", "{json:?}");
    ensure!(first["position"]["line"] == 4, "{json:?}");
    Ok(())
}

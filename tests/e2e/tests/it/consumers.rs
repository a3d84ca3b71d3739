//! The consumers of `examples/consumers`, each as it stands there.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::{PATIENCE, Server, Start};
use serde_json::json;

use crate::consume_sse::{make_queue, publish};

/// How many connections are occupied, where calls may have no more.
const PLACES: usize = 8;

/// An example: what runs it, and which Debian package brings that.
#[derive(Clone, Copy)]
struct Example {
    program: &'static str,
    package: &'static str,
    file: &'static str,
    /// How many events it is to handle: so many that it is killed before the end.
    events: u32,
    /// What it complains of when the server has no place for it.
    busy: &'static str,
}

const PYTHON: Example =
    Example { program: "python3", package: "python3", file: "consumer.py", events: 400, busy: "503" };
const NODE: Example =
    Example { program: "node", package: "nodejs", file: "consumer.mjs", events: 400, busy: "429" };
const PHP: Example =
    Example { program: "php", package: "php-cli", file: "consumer.php", events: 400, busy: "503" };
const SHELL: Example = Example {
    program: "sh",
    package: "dash, curl and jq",
    file: "consumer.sh",
    events: 60,
    busy: "Will retry",
};

/// A running example.
struct Running {
    child: Child,
    said: Receiver<String>,
    complained: Receiver<String>,
}

impl Example {
    fn start(self, server: &str, key: &str) -> Result<Running> {
        let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/consumers"));
        let mut child = Command::new(self.program)
            .arg(file.join(self.file))
            .envs([("ORDERWIRE_SERVER", server), ("ORDERWIRE_API_KEY", key), ("QUEUE", "shop")])
            .env("LEASE_MS", "2000")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} is needed: apt-get install {}", self.program, self.package))?;
        let said = lines_of(child.stdout.take().context("stdout is piped")?);
        let complained = lines_of(child.stderr.take().context("stderr is piped")?);
        Ok(Running { child, said, complained })
    }
}

fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

impl Running {
    /// The next line of its output.
    fn line(&self) -> Result<String> {
        self.said.recv_timeout(PATIENCE).with_context(|| {
            format!("it said nothing more; its errors: {:?}", self.complained.try_iter().collect::<Vec<_>>())
        })
    }

    /// Waits until it complains of something.
    fn until_complaint(&self, part: &str) -> Result<()> {
        loop {
            let line = self.complained.recv_timeout(PATIENCE).context("it never complained")?;
            if line.contains(part) {
                return Ok(());
            }
        }
    }

    fn signal(&self, name: &str) -> Result<()> {
        let kill = [&format!("-{name}"), &self.child.id().to_string()];
        ensure!(Command::new("kill").args(kill).status()?.success(), "kill -{name} failed");
        Ok(())
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "it did not end");
            // tidy: sleep because a process that is no child of an async runtime has no event to await
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A failed test must not leave a process behind; its end is all that matters.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Every event is handled, with a kill in the middle, in order but for what came twice; the queue
/// is empty then, and the consumer ends when it is asked to.
async fn handles_everything(example: Example) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&folder.path().join("data"), &Start::default())?;
    make_queue(&server, "shop").await?;
    publish(&server, "shop", 0..example.events).await?;
    let new = json!({"name": "example", "roles": ["consume"]});
    let (status, made) = server.post("/v1/keys", &new).await?;
    ensure!(status == 201, "{made}");
    let key = made["key"].as_str().context("a key")?;

    let mut seen: BTreeMap<u32, u32> = BTreeMap::new();
    let mut note = |line: &str| -> Result<u32> {
        let parts = line.strip_prefix("shop.made {\"n\":").and_then(|rest| rest.split_once("} attempt "));
        let (n, attempt) = parts.with_context(|| format!("what is this line? {line:?}"))?;
        let (n, attempt): (u32, u32) = (n.parse()?, attempt.parse()?);
        let times = seen.entry(n).or_default();
        *times += 1;
        ensure!((1..=3).contains(&attempt), "{line}");
        Ok(n)
    };
    let mut killed = example.start(&server.url, key)?;
    for due in 0..example.events / 4 {
        let n = note(&killed.line()?)?;
        ensure!(n == due, "{n} came before {due}");
    }
    killed.signal("KILL")?;
    killed.wait()?;
    // What it said before it was killed.
    while let Ok(line) = killed.said.recv_timeout(PATIENCE) {
        note(&line)?;
    }

    let mut again = example.start(&server.url, key)?;
    while note(&again.line()?)? < example.events - 1 {}
    server
        .until("/v1/queues/shop", |queue| {
            ["ready", "in_flight", "delayed", "dead"].iter().all(|state| queue[*state] == 0)
        })
        .await?;
    again.signal("TERM")?;
    let status = again.wait()?;
    let errors: Vec<_> = again.complained.iter().collect();
    ensure!(status.success(), "{status}; {errors:?}");
    ensure!(errors.is_empty(), "{errors:?}");
    while let Ok(line) = again.said.recv_timeout(PATIENCE) {
        note(&line)?;
    }
    ensure!(seen.keys().copied().eq(0..example.events), "some are missing: {seen:?}");
    let twice = seen.values().filter(|times| **times > 1).count();
    ensure!(twice <= 10, "only what was under way came again: {seen:?}");
    ensure!(server.stop()?.success());
    Ok(())
}

/// A server that has no place for it is asked again, and so is one that is away. What the
/// test holds itself is let go on another thread, while this one waits for the example.
async fn is_patient(example: Example) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let limit = |name: &str, most: usize| (format!("ORDERWIRE__LIMITS__{name}"), most.to_string());
    let env = vec![limit("CONCURRENT_REQUESTS", PLACES), limit("CONSUMER_CONNECTIONS_PER_KEY", 1)];
    let start = Start { env, ..Start::default() };
    let server = Server::start(&folder.path().join("data"), &start)?;
    make_queue(&server, "shop").await?;
    make_queue(&server, "idle").await?;
    publish(&server, "shop", 0..1).await?;

    // Others have the places, for as long as their connections are open.
    let streams = server.http.get(format!("{}/v1/queues/idle/stream", server.url)).send().await?;
    ensure!(streams.status() == 200, "{}", streams.status());
    let lease = |wait_ms| {
        let request = server.http.post(format!("{}/v1/queues/idle/lease", server.url));
        request.json(&json!({"wait_ms": wait_ms})).send()
    };
    let polls: Vec<_> = (0..PLACES)
        .map(|_| {
            let (http, url) = (server.http.clone(), format!("{}/v1/queues/idle/lease", server.url));
            tokio::spawn(async move {
                let poll = || http.post(&url).json(&json!({"wait_ms": 60_000})).send();
                // While the place that is looked for below is taken by the look.
                while poll().await.is_ok_and(|answer| answer.status() == 503) {}
            })
        })
        .collect();
    let deadline = Instant::now() + PATIENCE;
    while lease(1).await?.status() != 503 {
        ensure!(Instant::now() < deadline, "the places are never taken");
    }

    let mut running = example.start(&server.url, &server.key)?;
    running.until_complaint(example.busy)?;
    drop(streams);
    polls.iter().for_each(tokio::task::JoinHandle::abort);
    let line = running.line()?;
    ensure!(line == "shop.made {\"n\":0} attempt 1", "{line}");
    ensure!(server.stop()?.success());
    running.signal("TERM")?;
    let status = running.wait()?;
    ensure!(status.success(), "{status}: {:?}", running.complained.iter().collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn the_consumer_in_python_handles_everything() -> Result<()> {
    handles_everything(PYTHON).await
}

#[tokio::test]
async fn the_consumer_in_node_handles_everything() -> Result<()> {
    handles_everything(NODE).await
}

#[tokio::test]
async fn the_consumer_in_php_handles_everything() -> Result<()> {
    handles_everything(PHP).await
}

#[tokio::test]
async fn the_consumer_in_shell_handles_everything() -> Result<()> {
    handles_everything(SHELL).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_consumer_in_python_is_patient() -> Result<()> {
    is_patient(PYTHON).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_consumer_in_node_is_patient() -> Result<()> {
    is_patient(NODE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_consumer_in_php_is_patient() -> Result<()> {
    is_patient(PHP).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_consumer_in_shell_is_patient() -> Result<()> {
    is_patient(SHELL).await
}

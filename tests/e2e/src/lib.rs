//! A harness that starts the real binary in a folder of its own, on a free
//! port, and keeps what it prints.
//!
//! Nothing here knows the inside: only flags, files, signals and HTTP.

pub mod disk;
pub mod kafka;
pub mod processes;
pub mod sse;
pub mod ws;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
pub use orderwire_servers::{Authority, Signed, free_port, mosquitto, nats, postgres, proxy, rabbit, redis};
use serde_json::Value;

/// How long anything local may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test: `ORDERWIRE_BIN`, which `cargo xtask test` sets.
pub fn binary() -> PathBuf {
    match std::env::var_os("ORDERWIRE_BIN") {
        Some(path) => path.into(),
        None => panic!("ORDERWIRE_BIN is not set: run the tests with `cargo xtask test`"),
    }
}

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Another binary than [`binary`].
    pub binary: Option<PathBuf>,
    /// More flags of `orderwire up`.
    pub flags: Vec<String>,
    /// More environment.
    pub env: Vec<(String, String)>,
    /// A program, with its arguments, that runs the binary: `strace …`.
    pub under: Vec<String>,
}

/// A running server.
pub struct Server {
    child: Child,
    data: PathBuf,
    /// Its address, `http://127.0.0.1:PORT`.
    pub url: String,
    /// Its admin key.
    pub key: String,
    /// A client that sends the key.
    pub http: reqwest::Client,
}

impl Server {
    /// Starts `orderwire up` on this data folder and waits until it is ready.
    pub fn start(data: &Path, start: &Start) -> Result<Self> {
        let binary = start.binary.clone().unwrap_or_else(binary);
        let mut words: Vec<String> = start.under.clone();
        words.push(binary.to_string_lossy().into_owned());
        words.extend(["up", "--listen", "127.0.0.1:0", "--data"].map(str::to_owned));
        words.push(data.to_string_lossy().into_owned());
        words.extend(start.flags.clone());
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log_of(data))?;
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .envs(start.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {words:?}"))?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let (send, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let deadline = Instant::now() + PATIENCE;
        let address = loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Ok(value) = serde_json::from_str::<Value>(&line)
                        && value["msg"] == "ready"
                    {
                        break value["listen"].as_str().context("listen is a string")?.to_owned();
                    }
                }
                Err(_) => {
                    if let Err(error) = child.kill() {
                        eprintln!("killing a server that never got ready: {error}");
                    }
                    let status = child.wait()?;
                    let log = std::fs::read_to_string(log_of(data))?;
                    bail!("the server did not get ready ({status}); its log:\n{log}");
                }
            }
        };
        let key = std::fs::read_to_string(data.join("admin.key"))?.trim().to_owned();
        let http = client(&key)?;
        Ok(Self { child, data: data.to_owned(), url: format!("http://{address}"), key, http })
    }

    /// Starts a server and kills it with SIGKILL after this time, ready or not.
    pub fn kill_while_starting(data: &Path, after: Duration) -> Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log_of(data))?;
        let mut child = Command::new(binary())
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        // tidy: sleep because the moment of the kill is what is tested
        std::thread::sleep(after);
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Kills it with SIGKILL and waits for the end.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits for the end.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.signal("TERM")?;
        self.wait()
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status()?;
        ensure!(status.success(), "kill -{name} failed");
        Ok(())
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "the server did not end within {PATIENCE:?}");
            // tidy: sleep because a process that is no child of an async runtime has no event to await
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it wrote to stderr since the folder was made.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(log_of(&self.data))?)
    }

    /// `GET`, which must succeed.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let response = self.http.get(format!("{}{path}", self.url)).send().await?;
        let status = response.status();
        let body = response.text().await?;
        ensure!(status.is_success(), "GET {path}: {status}: {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// A request with a JSON body: the status and the answer, whatever it is.
    pub async fn send(&self, method: reqwest::Method, path: &str, body: &Value) -> Result<(u16, Value)> {
        let response = self.http.request(method, format!("{}{path}", self.url)).json(body).send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        let value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? };
        Ok((status, value))
    }

    /// `POST`.
    pub async fn post(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        self.send(reqwest::Method::POST, path, body).await
    }

    /// Asks until the answer is as wanted.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.get(path).await?;
            if wanted(&value) {
                return Ok(value);
            }
            ensure!(Instant::now() < deadline, "GET {path} never got as wanted; last: {value}");
            // tidy: sleep because the condition is behind HTTP and is asked for again
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // A failed test must not leave a server behind; its end is all that matters.
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

fn log_of(data: &Path) -> PathBuf {
    data.with_extension("log")
}

/// A client that sends this key.
pub fn client(key: &str) -> Result<reqwest::Client> {
    // A second installation is refused, and changes nothing.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert("x-api-key", key.parse()?);
    Ok(reqwest::Client::builder().default_headers(headers).timeout(PATIENCE).build()?)
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; -1 after a signal.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs `orderwire` with these arguments to its end.
pub fn run(arguments: &[&str]) -> Result<Ran> {
    run_with(arguments, &[])
}

/// The same with more environment.
pub fn run_with(arguments: &[&str], env: &[(String, String)]) -> Result<Ran> {
    let mut command = Command::new(binary());
    command.args(arguments).envs(env.iter().cloned()).stdin(Stdio::null());
    let output = command.output()?;
    Ok(Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

//! NATS, with JetStream on files.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{PATIENCE, Process, free_port};

/// A server that ends with this value.
pub struct Nats {
    folder: TempDir,
    port: u16,
    arguments: Vec<String>,
    server: Option<Process>,
}

impl Nats {
    /// A server that is not started yet: its port refuses connections.
    pub fn new() -> Result<Self> {
        let arguments = Vec::new();
        Ok(Self { folder: tempfile::tempdir()?, port: free_port()?, arguments, server: None })
    }

    /// A server that answers.
    pub fn started() -> Result<Self> {
        let mut nats = Self::new()?;
        nats.start()?;
        Ok(nats)
    }

    /// A server that answers to nobody but this user.
    pub fn started_for(user: &str, password: &str) -> Result<Self> {
        let mut nats = Self::new()?;
        nats.arguments = ["--user", user, "--pass", password].map(str::to_owned).into();
        nats.start()?;
        Ok(nats)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Starts it on what it holds, and waits until it answers. `NATS_SERVER` names another
    /// program.
    pub fn start(&mut self) -> Result<()> {
        let program = std::env::var("NATS_SERVER").unwrap_or_else(|_| "nats-server".to_owned());
        let log = File::options().create(true).append(true).open(self.folder.path().join("log"))?;
        let mut command = Command::new(program);
        command.args(["-js", "-a", "127.0.0.1", "-p", &self.port.to_string(), "-sd"]);
        command.arg(self.folder.path().join("data")).args(&self.arguments);
        command.stdout(log.try_clone()?).stderr(log);
        self.server = Some(Process::start(&mut command, "nats-server")?);
        let deadline = Instant::now() + PATIENCE;
        while self.talk().is_err() {
            ensure!(Instant::now() < deadline, "nats-server did not start: {}", self.log()?);
            // tidy: sleep because a port that opens is no event
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.server = None;
        Ok(())
    }

    /// Ends it in good order.
    pub fn stop(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), Process::stop)
    }

    /// Publishes to a subject, and waits until the stream has it.
    pub fn publish(&self, subject: &str, body: &str) -> Result<()> {
        let mut talk = self.talk()?;
        let (_, answer) = talk.ask(subject, body)?;
        ensure!(serde_json::from_str::<Value>(&answer)?["error"].is_null(), "{subject}: {answer}");
        Ok(())
    }

    /// Pulls one message from a consumer of the stream, and acks it.
    pub fn pull(&self, consumer: &str) -> Result<Value> {
        let mut talk = self.talk()?;
        let request = json!({"batch": 1, "expires": PATIENCE.as_nanos() as u64}).to_string();
        let (reply, body) = talk.ask(&format!("$JS.API.CONSUMER.MSG.NEXT.ORDERWIRE.{consumer}"), &request)?;
        let reply = reply.with_context(|| format!("no message: {body}"))?;
        talk.say(&format!("PUB {reply} 4\r\n+ACK\r\nPING\r\n"))?;
        talk.until("PONG")?;
        Ok(serde_json::from_str(&body)?)
    }

    /// How many messages wait for the consumer of a queue, with those that are handed out and
    /// not acked.
    pub fn unacked(&self, consumer: &str) -> Result<u64> {
        let (_, info) = self.talk()?.ask(&format!("$JS.API.CONSUMER.INFO.ORDERWIRE.{consumer}"), "{}")?;
        let info: Value = serde_json::from_str(&info)?;
        let count = |what: &str| info[what].as_u64().with_context(|| format!("{what}: {info}"));
        Ok(count("num_ack_pending")? + count("num_pending")?)
    }

    fn talk(&self) -> Result<Talk> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut talk = Talk(BufReader::new(stream));
        talk.until("INFO")?;
        talk.say("CONNECT {\"verbose\":false}\r\nSUB answer 1\r\n")?;
        Ok(talk)
    }

    fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.path().join("log"))?)
    }
}

/// A connection of somebody who knows only the protocol.
struct Talk(BufReader<TcpStream>);

impl Talk {
    fn say(&mut self, words: &str) -> Result<()> {
        Ok(self.0.get_mut().write_all(words.as_bytes())?)
    }

    /// The rest of the next line that begins with this word.
    fn until(&mut self, word: &str) -> Result<String> {
        loop {
            let mut line = String::new();
            ensure!(self.0.read_line(&mut line)? > 0, "nats-server ended the connection");
            ensure!(!line.starts_with("-ERR"), "nats-server says {line}");
            if let Some(rest) = line.strip_prefix(word) {
                return Ok(rest.trim().to_owned());
            }
        }
    }

    /// The answer to a message: where it is answered to in turn, and what it says.
    fn ask(&mut self, subject: &str, body: &str) -> Result<(Option<String>, String)> {
        self.say(&format!("PUB {subject} answer {}\r\n{body}\r\n", body.len()))?;
        let head = self.until("MSG")?;
        // Its subject, our number, where it is answered to, its length.
        let words: Vec<&str> = head.split(' ').collect();
        let length = words.last().context("a length")?.parse()?;
        let mut said = vec![0; length];
        self.0.read_exact(&mut said)?;
        let reply = (words.len() == 4).then(|| words[2].to_owned());
        Ok((reply, String::from_utf8(said)?))
    }
}

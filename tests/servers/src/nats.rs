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

/// How long the answer to a question may take.
const ANSWER: Duration = Duration::from_secs(5);

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
        Self::with(&[])
    }

    /// The same with more arguments.
    pub fn with(arguments: &[&str]) -> Result<Self> {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
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
        let mut nats = Self::with(&["--user", user, "--pass", password])?;
        nats.start()?;
        Ok(nats)
    }

    /// Three servers that keep streams together.
    pub fn cluster() -> Result<[Self; 3]> {
        let ports = [free_port()?, free_port()?, free_port()?];
        let routes = ports.map(|port| format!("nats://127.0.0.1:{port}"));
        let one = |nth: usize| {
            Self::with(&[
                "--name",
                &format!("n{nth}"),
                "--cluster_name",
                "test",
                "--cluster",
                &routes[nth],
                "--routes",
                &routes.join(","),
            ])
        };
        let mut servers = [one(0)?, one(1)?, one(2)?];
        for server in &mut servers {
            server.begin(true)?;
        }
        for server in &servers {
            server.until("it has streams", || {
                server.ask("$JS.API.INFO").is_ok_and(|is| is["error"].is_null())
            })?;
        }
        Ok(servers)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Starts it on what it holds, and waits until it answers.
    pub fn start(&mut self) -> Result<()> {
        self.begin(true)?;
        self.until("it answers", || self.answers())
    }

    /// Starts it, with streams or without, and does not wait until it [`answers`](Self::answers).
    pub fn begin(&mut self, has_streams: bool) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log"))?;
        let mut command = Command::new(program());
        command.args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-sd"]);
        command.arg(self.folder.path().join("data")).args(has_streams.then_some("-js")).args(&self.arguments);
        command.stdout(log.try_clone()?).stderr(log);
        self.server = Some(Process::start(&mut command, "nats-server")?);
        Ok(())
    }

    /// Whether it speaks.
    pub fn answers(&self) -> bool {
        self.talk(PATIENCE).is_ok()
    }

    /// The number of the server in its cluster that leads the stream, which has to be on all three.
    pub fn leader(&self) -> Result<usize> {
        let mut leader = None;
        // Nobody answers while they agree on one.
        self.until("the stream has a leader", || {
            let stream = self.ask("$JS.API.STREAM.INFO.ORDERWIRE").unwrap_or_default();
            let cluster = &stream["cluster"];
            let is_on_three = cluster["replicas"].as_array().is_some_and(|others| others.len() == 2);
            leader = cluster["leader"].as_str().filter(|_| is_on_three).map(str::to_owned);
            leader.is_some()
        })?;
        Ok(leader.context("a leader")?.trim_start_matches('n').parse()?)
    }

    fn until(&self, what: &str, mut is: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is() {
            ensure!(Instant::now() < deadline, "not so that {what}: {}", self.log()?);
            // tidy: sleep because a server that gets there is no event
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
        let mut talk = self.talk(PATIENCE)?;
        let (_, answer) = talk.ask(subject, body)?;
        ensure!(serde_json::from_str::<Value>(&answer)?["error"].is_null(), "{subject}: {answer}");
        Ok(())
    }

    /// Pulls one message from a consumer of the stream, and acks it.
    pub fn pull(&self, consumer: &str) -> Result<Value> {
        let mut talk = self.talk(PATIENCE)?;
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
        let info = self.ask(&format!("$JS.API.CONSUMER.INFO.ORDERWIRE.{consumer}"))?;
        let count = |what: &str| info[what].as_u64().with_context(|| format!("{what}: {info}"));
        Ok(count("num_ack_pending")? + count("num_pending")?)
    }

    /// Asks it something. Of a cluster without a leader nobody answers.
    fn ask(&self, subject: &str) -> Result<Value> {
        let (_, answer) = self.talk(ANSWER)?.ask(subject, "{}")?;
        Ok(serde_json::from_str(&answer)?)
    }

    fn talk(&self, patience: Duration) -> Result<Talk> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(patience))?;
        let mut talk = Talk(BufReader::new(stream));
        talk.until("INFO")?;
        talk.say("CONNECT {\"verbose\":false}\r\nSUB answer 1\r\n")?;
        Ok(talk)
    }

    fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.path().join("log"))?)
    }
}

/// The server's program; `NATS_SERVER` names another.
pub fn program() -> String {
    std::env::var("NATS_SERVER").unwrap_or_else(|_| "nats-server".to_owned())
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

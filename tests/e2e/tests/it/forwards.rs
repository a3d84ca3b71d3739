//! Events to an HTTP endpoint, through `kill -9`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::rabbit::Rabbit;
use orderwire_e2e::{Authority, PATIENCE, Server, Signed, Start, run};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// What is answered; nothing, where it hangs.
type Answer = dyn Fn() -> Option<String> + Send + Sync;

const TAKEN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nthank";

/// An endpoint that answers or hangs.
struct Endpoint {
    port: u16,
    answers: Arc<AtomicBool>,
    heads: mpsc::Receiver<String>,
}

impl Endpoint {
    fn start() -> Result<Self> {
        Self::over(None)
    }

    /// By TLS where that is configured.
    fn over(tls: Option<Arc<ServerConfig>>) -> Result<Self> {
        let answers = Arc::new(AtomicBool::new(false));
        let answering = answers.clone();
        let answer = move || answering.load(Ordering::SeqCst).then(|| TAKEN.to_owned());
        Self::with(tls, answers, Arc::new(answer))
    }

    /// With these answers, none where it hangs, and then that it took the event.
    fn acting(acts: Vec<Option<String>>) -> Result<Self> {
        let acts = Mutex::new(acts.into_iter());
        let answer = move || {
            let next = acts.lock().unwrap_or_else(PoisonError::into_inner).next();
            next.unwrap_or_else(|| Some(TAKEN.to_owned()))
        };
        Self::with(None, Arc::default(), Arc::new(answer))
    }

    fn with(
        tls: Option<Arc<ServerConfig>>,
        answers: Arc<AtomicBool>,
        answering: Arc<Answer>,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let (send, heads) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (send, answering, tls) = (send.clone(), answering.clone(), tls.clone());
                // A connection that breaks off is the other side's business.
                std::thread::spawn(move || {
                    drop(match tls {
                        Some(tls) => ServerConnection::new(tls)
                            .map_err(anyhow::Error::from)
                            .and_then(|tls| serve(StreamOwned::new(tls, stream), &send, &*answering)),
                        None => serve(stream, &send, &*answering),
                    });
                });
            }
        });
        Ok(Self { port, answers, heads })
    }

    /// The head of the next request, in lower case.
    fn next(&self) -> Result<String> {
        self.heads.recv_timeout(PATIENCE).context("a request")
    }
}

fn serve(mut stream: impl Read + Write, send: &mpsc::Sender<String>, answer: &Answer) -> Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head)?.to_lowercase();
        let mut body = vec![0; header(&head, "content-length")?.parse()?];
        stream.read_exact(&mut body)?;
        send.send(head)?;
        if let Some(answer) = answer() {
            stream.write_all(answer.as_bytes())?;
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Result<&'a str> {
    let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.with_context(|| format!("no {name} in {head}"))
}

fn configuration(folder: &Path, port: u16) -> Result<String> {
    let path = folder.join("orderwire.yaml");
    std::fs::write(
        &path,
        format!(
            "forwards:\n  shop:\n    url: http://127.0.0.1:{port}/hooks\n    types: [\"shop.#\"]\n    \
             secret: ${{E2E_WEBHOOK_SECRET}}\n    allow_private: true\n    timeout: 30s\n"
        ),
    )?;
    Ok(path.to_string_lossy().into_owned())
}

#[tokio::test]
async fn an_endpoint_by_https_gets_events_once_somebody_vouches_for_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (ours, other) = (Authority::new()?, Authority::new()?);
    let Signed { certificate, key } = ours.sign("localhost")?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(certificate)?],
            PrivateKeyDer::from_pem_file(key)?,
        )?;
    let endpoint = Endpoint::over(Some(Arc::new(tls)))?;
    endpoint.answers.store(true, Ordering::SeqCst);
    let config = folder.path().join("orderwire.yaml");
    std::fs::write(
        &config,
        format!(
            "forwards:\n  shop: {{url: 'https://localhost:{}/hooks', types: ['shop.#'], allow_private: true, \
             secret: '${{E2E_WEBHOOK_SECRET}}', backoff: {{first: 100ms, last: 100ms}}, attempts: 1000}}\n",
            endpoint.port
        ),
    )?;
    let start = |trusted: &Authority| Start {
        flags: vec!["--config".to_owned(), config.to_string_lossy().into_owned()],
        env: vec![
            ("E2E_WEBHOOK_SECRET".to_owned(), "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned()),
            ("SSL_CERT_FILE".to_owned(), trusted.file().to_string_lossy().into_owned()),
        ],
        ..Start::default()
    };
    let data = folder.path().join("data");
    // Whom the system trusts is another one.
    let server = Server::start(&data, &start(&other))?;
    let (status, accepted) = server.post("/v1/events/shop.order.paid", &json!({"n": 1})).await?;
    ensure!(status == 202, "{status}: {accepted}");
    let log = "/v1/forwards/shop/deliveries";
    let refused = server.until(log, |log| log["items"][0]["outcome"] == "retry").await?;
    ensure!(
        refused["items"][0]["detail"].as_str().is_some_and(|why| why.contains("certificate")),
        "{refused}"
    );
    ensure!(server.stop()?.success());

    let server = Server::start(&data, &start(&ours))?;
    let head = endpoint.next()?;
    ensure!(head.starts_with("post /hooks http/1.1"), "{head}");
    ensure!(header(&head, "webhook-id")? == accepted["event_id"].as_str().context("an id")?, "{head}");
    server.until("/v1/forwards", |forwards| forwards["items"][0]["delivered"] == 1).await?;
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn an_event_comes_again_under_its_id_after_kill_9() -> Result<()> {
    let endpoint = Endpoint::start()?;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let start = Start {
        flags: vec!["--config".to_owned(), configuration(folder.path(), endpoint.port)?],
        env: [
            ("E2E_WEBHOOK_SECRET", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
            // Nobody listens there, and nobody is asked.
            ("HTTP_PROXY", "http://127.0.0.1:1"),
            ("http_proxy", "http://127.0.0.1:1"),
            ("ALL_PROXY", "http://127.0.0.1:1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
        ..Start::default()
    };
    let server = Server::start(&data, &start)?;
    let (status, accepted) = server.post("/v1/events/shop.order.paid", &json!({"n": 1})).await?;
    ensure!(status == 202 && accepted["queues"] == json!(["forward-shop"]), "{status}: {accepted}");
    let event = accepted["event_id"].as_str().context("an id")?;
    let head = endpoint.next()?;
    ensure!(head.starts_with("post /hooks http/1.1") && header(&head, "webhook-id")? == event, "{head}");
    ensure!(header(&head, "webhook-signature")?.starts_with("v1,"), "{head}");
    // It was posted, and nobody knows whether it was taken.
    server.kill()?;

    endpoint.answers.store(true, Ordering::SeqCst);
    let server = Server::start(&data, &start)?;
    let again = endpoint.next()?;
    ensure!(header(&again, "webhook-id")? == event, "{again}");
    // The figures tell of an answer a moment before the queue does.
    let is_done = |shop: &Value| shop["delivered"] == 1 && shop["waiting"] == 0;
    let forwards = server.until("/v1/forwards", |forwards| is_done(&forwards["items"][0])).await?;
    let shop = &forwards["items"][0];
    ensure!(shop["dead"] == 0 && shop["breaker"] == "closed", "{shop}");
    let is_logged = |log: &Value| log["items"].as_array().is_some_and(|all| all.len() == 1);
    let log = server.until("/v1/forwards/shop/deliveries", is_logged).await?;
    let attempt = &log["items"][0];
    ensure!(attempt["attempt"] == 2 && attempt["outcome"] == "delivered", "{log}");

    let flags = ["--server", server.url.as_str(), "--key", server.key.as_str()];
    let told = |words: &[&str]| run(&[&flags[..], &["forward"], words].concat());
    let listed = told(&["list"])?;
    ensure!(
        listed.code == 0 && listed.stdout.contains("shop") && listed.stdout.contains("closed"),
        "{listed:?}"
    );
    let logged = told(&["log", "shop", "--outcome", "delivered"])?;
    ensure!(logged.code == 0 && logged.stdout.contains(event), "{logged:?}");
    let tested = told(&["test", "shop"])?;
    ensure!(tested.code == 0 && tested.stdout.contains("thank"), "{tested:?}");
    ensure!(header(&endpoint.next()?, "webhook-id")? != event, "a sample is an event of its own");
    ensure!(told(&["test", "none"])?.code == 3);
    let trace = accepted["trace_id"].as_str().context("a trace")?;
    let trace = run(&[&flags[..], &["trace", trace]].concat())?;
    // Not the state of the trace: the recorder may have been killed with the client's announcement in hand.
    let second = ["forwarder", "attempt", "ok", "forward-shop", "2"];
    let is_second = |line: &str| line.split_whitespace().skip(2).take(5).eq(second);
    ensure!(trace.stdout.lines().any(is_second), "{trace:?}");
    ensure!(!server.log()?.contains("whsec_"), "no secret is logged");
    ensure!(server.stop()?.success());
    Ok(())
}

/// Hangs, sends elsewhere, fails, and then takes it; and one whose name is of a private address.
#[tokio::test]
async fn endpoints_that_misbehave_get_an_event_once_or_never() -> Result<()> {
    let elsewhere = Endpoint::start()?;
    let answer = |line: &str| Some(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n"));
    let away = format!("307 Away\r\nlocation: http://127.0.0.1:{}/hooks", elsewhere.port);
    let acts = vec![None, answer(&away), answer("500 Broken"), answer("503 Later")];
    let (shop, inside) = (Endpoint::acting(acts)?, Endpoint::start()?);
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("orderwire.yaml");
    let common = "types: ['shop.#'], secret: '${E2E_WEBHOOK_SECRET}', backoff: {first: 100ms, last: 100ms}";
    std::fs::write(
        &config,
        format!(
            "forwards:\n  shop: {{url: 'http://127.0.0.1:{}/hooks', {common}, timeout: 1s, allow_private: true}}\n  \
             inside: {{url: 'http://localhost:{}/hooks', {common}, attempts: 2}}\n",
            shop.port, inside.port
        ),
    )?;
    let start = Start {
        flags: vec!["--config".to_owned(), config.to_string_lossy().into_owned()],
        env: vec![("E2E_WEBHOOK_SECRET".to_owned(), "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned())],
        ..Start::default()
    };
    let server = Server::start(&folder.path().join("data"), &start)?;
    let (status, accepted) = server.post("/v1/events/shop.order.paid", &json!({"n": 1})).await?;
    ensure!(status == 202, "{status}: {accepted}");
    for attempt in 1..=5 {
        let head = shop.next()?;
        ensure!(header(&head, "webhook-id")? == accepted["event_id"], "attempt {attempt}: {head}");
    }
    let forwards = server
        .until("/v1/forwards", |forwards| {
            let of = |name| forwards["items"].as_array()?.iter().find(|one| one["name"] == name).cloned();
            let done = |one: &Value| one["waiting"] == 0;
            of("shop").zip(of("inside")).is_some_and(|(shop, inside)| {
                done(&shop) && shop["delivered"] == 1 && done(&inside) && inside["dead"] == 1
            })
        })
        .await?;
    ensure!(forwards["items"].as_array().is_some_and(|all| all.len() == 2), "{forwards}");
    let logged = |log: &Value| log["items"].as_array().is_some_and(|all| all.len() == 5);
    let log = server.until("/v1/forwards/shop/deliveries", logged).await?;
    let attempts = log["items"].as_array().context("attempts")?.iter().rev();
    let answers = [json!(null), json!(307), json!(500), json!(503), json!(200)];
    for (attempt, status) in attempts.zip(answers) {
        ensure!(attempt["status"] == status, "{status}: {attempt}");
    }
    let dead = server.get("/v1/dead?queue=forward-inside").await?;
    ensure!(dead.to_string().contains("loopback address"), "{dead}");
    // Nobody was sent anything that nobody may be sent.
    ensure!(elsewhere.heads.try_recv().is_err() && inside.heads.try_recv().is_err(), "something came");
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn what_others_put_on_the_broker_reaches_an_endpoint() -> Result<()> {
    let (rabbit, endpoint) = (Rabbit::started()?, Endpoint::start()?);
    endpoint.answers.store(true, Ordering::SeqCst);
    let folder = tempfile::tempdir()?;
    let start = Start {
        flags: vec!["--config".to_owned(), configuration(folder.path(), endpoint.port)?],
        env: vec![
            ("E2E_WEBHOOK_SECRET".to_owned(), "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned()),
            ("ORDERWIRE__BROKER__URL".to_owned(), rabbit.url()),
        ],
        ..Start::default()
    };
    let server = Server::start(&folder.path().join("data"), &start)?;
    let (status, accepted) = server.post("/v1/events/shop.order.paid", &json!({"n": 1})).await?;
    ensure!(status == 202 && accepted["queues"] == json!(["forward-shop"]), "{status}: {accepted}");
    // It came through the broker, where everything is made by now.
    ensure!(header(&endpoint.next()?, "webhook-id")? == accepted["event_id"], "{accepted}");
    let script = r#"
import json, os, pika
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.confirm_delivery()
event = {"specversion": "1.0", "id": "1", "source": "/till", "type": "shop.order.paid", "client": "acme",
         "traceparent": "00-9a2ae9de3f824f55966b47df50ff51ff-b7ad6b7169203331-01", "data": {"n": 2}}
properties = pika.BasicProperties(delivery_mode=2)
channel.basic_publish("orderwire.events", event["type"], json.dumps(event), properties, mandatory=True)
connection.close()
"#;
    let python = std::env::var_os("ORDERWIRE_PYTHON");
    let python = python.context("ORDERWIRE_PYTHON is not set: run the tests with `cargo xtask test`")?;
    let output = Command::new(python).args(["-c", script]).env("AMQP_URL", rabbit.url()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let head = endpoint.next()?;
    ensure!(header(&head, "traceparent")?.contains("9a2ae9de3f824f55966b47df50ff51ff"), "{head}");
    server
        .until("/v1/forwards", |forwards| {
            let shop = &forwards["items"][0];
            shop["delivered"] == 2 && shop["waiting"] == 0 && shop["dead"] == 0
        })
        .await?;
    ensure!(server.stop()?.success());
    Ok(())
}

#[test]
fn what_is_wrong_with_an_endpoint_is_told_with_everything_else() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("orderwire.yaml");
    let short = folder.path().join("short");
    std::fs::write(&short, "hunter2")?;
    std::fs::write(
        &config,
        format!(
            "listen: nowhere
forwards:
  inside:
    url: http://127.1:8080/hooks
    types: [\"a.#\"]
    secret: file:{}
  shop:
    url: https://user:hunter2@shop.example
    types: [\"a.#\"]
    secret: ${{E2E_NOT_SET_ANYWHERE}}
    headers: {{Webhook-Id: x}}
  plain:
    url: https://shop.example
    types: [\"a.#\"]
    secret: hunter2-hunter2-hunter2-hunter2
",
            short.display()
        ),
    )?;
    let checked = run(&["check", "--config", &config.to_string_lossy()])?;
    ensure!(checked.code == 7 && !checked.stderr.contains("hunter2"), "{checked:?}");
    for (line, said) in [
        (1, "listen: "),
        (4, "forwards.inside.url: 127.0.0.1 is a loopback address"),
        (6, "forwards.inside.secret: the secret has 7 bytes"),
        (8, "forwards.shop.url: a credential is never in the configuration"),
        (10, "forwards.shop.secret: the environment variable E2E_NOT_SET_ANYWHERE is not set"),
        (11, "forwards.shop.headers.Webhook-Id: this header is set by Orderwire"),
        (15, "forwards.plain.secret: a secret is never a plain value"),
    ] {
        let found = checked.stderr.lines().find(|told| told.contains(said)).context(said.to_owned())?;
        ensure!(found.contains(&format!("orderwire.yaml:{line}:")), "{found}");
    }
    Ok(())
}

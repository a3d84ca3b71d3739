//! Real processes: what they are given, and how they fail.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use orderwire_provisioner::target::{Error, Health, Manifest, Target};
use serde_json::{Value, json};

use crate::log::Log;
use crate::process_rig::{Rig, eventually, file, object, shell};

fn failed(health: &Health) -> bool {
    matches!(health, Health::Failed(_))
}

fn up() -> Value {
    json!({"ready": {"output": "up"}})
}

#[tokio::test]
async fn a_process_that_exits_at_once_fails_with_its_code_and_last_words() {
    let rig = Rig::new();
    let manifests = [shell("echo first; echo 'no such dataset' >&2; exit 3", &json!({}))];
    rig.apply(&manifests).await;
    let observed = rig.until(&manifests, failed).await;
    let words = "process main exited with code 3, 3 times in a row; its last words: no such dataset";
    assert_eq!(observed.health, Health::Failed(words.to_owned()));
    assert_eq!(rig.running().iter().filter(|running| !running.is_supervisor).count(), 0);
}

#[tokio::test]
async fn one_that_was_given_up_starts_anew_with_the_next_apply() {
    let rig = Rig::new();
    let manifests = [shell("test -e go || exit 1; echo up; exec sleep 1000", &up())];
    rig.apply(&manifests).await;
    rig.until(&manifests, failed).await;
    let drift = rig.target.drift(&rig.placement, &rig.desired(&manifests)).await.unwrap();
    assert_eq!(drift[0].fields[0].field, "/status/state");
    std::fs::write(rig.folder().join("work/go"), "").unwrap();
    rig.bring_up(&manifests).await;
}

#[tokio::test]
async fn a_supervisor_that_does_nothing_any_more_is_killed() {
    let rig = Rig::with_grace(Duration::from_millis(100));
    rig.bring_up(&[shell("echo up; exec sleep 1000", &up())]).await;
    let supervisor = rig.running().into_iter().find(|running| running.is_supervisor).unwrap();
    let pid = rustix::process::Pid::from_raw(supervisor.pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    rig.remove().await;
    assert_eq!(rig.running(), []);
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_named() {
    let rig = Rig::new();
    let manifests = [object("Process", "main", &json!({"command": ["no-such-program"], "failures": 1}))];
    rig.apply(&manifests).await;
    let Health::Failed(reason) = rig.until(&manifests, failed).await.health else { unreachable!() };
    assert!(reason.contains("no-such-program cannot be started: No such file"), "{reason}");
}

#[tokio::test]
async fn a_process_that_fails_now_and_then_is_started_again() {
    let rig = Rig::new();
    let script = "if [ -e flag ]; then echo up; exec sleep 1000; fi; touch flag; exit 1";
    rig.bring_up(&[shell(script, &up())]).await;
}

#[tokio::test]
async fn daemons_of_a_process_are_gone_after_its_removal() {
    let rig = Rig::with_grace(Duration::from_millis(200));
    // Nothing but its own words shows whose it is.
    let hidden = Hidden(format!("sleep {}", 1_000_000 + rig.placement.release.as_u128() % 1_000_000_000));
    let script = format!(
        "setsid sh -c 'setsid sleep 1001 & sleep 1002 & trap \"\" TERM; sleep 1003; sleep 1004' & \
         env -i setsid {} & sleep 0.1; echo up; exec sleep 1006",
        hidden.0
    );
    rig.bring_up(&[shell(&script, &up())]).await;
    eventually("a process without its environment", || hidden.pid()).await;
    assert!(rig.running().len() >= 5, "{:?}", rig.running());
    assert!(rig.remove().await.contains(&"Process main".to_owned()));
    assert_eq!(rig.running(), []);
    assert_eq!(hidden.pid(), None);
    assert!(!rig.folder().exists());
}

/// A process by its command, which is its own; killed at the end, however the test ends.
struct Hidden(String);

impl Hidden {
    fn pid(&self) -> Option<i32> {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.find(|pid| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            text.trim_end_matches('\0').replace('\0', " ") == self.0
        })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(pid) = self.pid().and_then(rustix::process::Pid::from_raw) {
            // It may have ended since.
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
    }
}

#[tokio::test]
async fn a_folder_in_the_way_of_a_file_does_not_hold_up_an_apply() {
    let rig = Rig::new();
    rig.bring_up(&[shell("echo up; exec sleep 1000", &up()), file("page", "site/index.html", "1")]).await;
    let path = rig.folder().join("work/site/index.html");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("own"), "own").unwrap();
    rig.bring_up(&[shell("echo up; exec sleep 1001", &up()), file("page", "site/index.html", "2")]).await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "2");
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_and_leaves_the_former_revision_running() {
    let rig = Rig::new();
    let former = [shell("echo up; exec sleep 1000", &up()), file("page", "site/index.html", "1")];
    rig.bring_up(&former).await;
    let before = rig.running();
    std::fs::write(rig.folder().join("files.json"), "?").unwrap();
    let next = [shell("echo up; exec sleep 1001", &up()), file("page", "site/index.html", "2")];
    let applied = rig.target.apply(&rig.placement, &rig.desired(&next), &rig.grant).await;
    assert!(matches!(&applied, Err(Error::Refused(reason)) if reason.contains("files.json")), "{applied:?}");
    assert_eq!(rig.running(), before);
    assert_eq!(rig.observe(&former).await.health, Health::Ready);
}

#[tokio::test]
async fn what_a_process_leaves_when_it_ends_does_not_outlive_it() {
    let rig = Rig::new();
    let manifests = [shell("setsid sleep 1010 & exit 1", &json!({"failures": 2}))];
    rig.apply(&manifests).await;
    rig.until(&manifests, failed).await;
    let left: Vec<_> = rig.running().into_iter().filter(|running| !running.is_supervisor).collect();
    assert_eq!(left, []);
}

#[tokio::test]
async fn one_that_ignores_sigterm_is_killed_after_the_grace() {
    let grace = Duration::from_millis(400);
    let rig = Rig::with_grace(grace);
    let script = "trap 'echo term >> seen' TERM; echo up; while :; do sleep 0.05; done";
    rig.bring_up(&[shell(script, &up())]).await;
    let started = Instant::now();
    rig.target.stop().await;
    let took = started.elapsed();
    assert_eq!(rig.running(), []);
    assert!(took >= grace && took < Duration::from_secs(5), "{took:?}");
    assert!(rig.written("seen").await.starts_with("term"));
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_and_waited_for() {
    let rig = Rig::new();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let manifests = [shell(
        "echo up; exec sleep 1000",
        &json!({"ports": {"http": port}, "ready": {"output": "up"}, "failures": 100}),
    )];
    rig.apply(&manifests).await;
    let says = format!("port {port} is taken by another process");
    rig.until(&manifests, |health| matches!(health, Health::Progressing(reason) if reason.contains(&says)))
        .await;
    drop(taken);
    rig.until(&manifests, |health| *health == Health::Ready).await;
}

#[tokio::test]
async fn a_port_that_stays_taken_fails() {
    let rig = Rig::new();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let manifests = [shell("exec sleep 1000", &json!({"ports": {"http": port}}))];
    rig.apply(&manifests).await;
    let Health::Failed(reason) = rig.until(&manifests, failed).await.health else { unreachable!() };
    assert!(reason.contains(&format!("port {port} is taken")), "{reason}");
}

/// Answers every request with the status that it holds.
async fn serve(port: u16, status: Arc<AtomicU16>) {
    // Whoever connects to it at this moment may hold it.
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok();
    let listener = eventually("the port is free", bind).await;
    let answer = move |mut stream: TcpStream| {
        let mut request = [0; 1_024];
        let length = stream.read(&mut request)?;
        let is_meant = request[..length].starts_with(b"GET /health HTTP/1.1\r\n");
        let status = if is_meant { status.load(Ordering::Relaxed) } else { 404 };
        write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n")
    };
    // On a busy machine a check is given up while it is answered; the next one counts.
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(answer(stream))));
}

#[tokio::test]
async fn readiness_over_http_comes_and_goes_with_its_answers() {
    let rig = Rig::new();
    let spec = json!({"ports": {"web-ui": 0}, "ready": {"http": {"port": "web-ui", "path": "/health"}}});
    let manifests = [shell("echo $PORT $PORT_WEB_UI > port; exec sleep 1000", &spec)];
    rig.apply(&manifests).await;
    let progressing = |says: &'static str| move |health: &Health| matches!(health, Health::Progressing(reason) if reason.contains(says));
    rig.until(&manifests, progressing("does not answer")).await;
    let ports = rig.written("port").await;
    let (port, same) = ports.trim().split_once(' ').unwrap();
    assert_eq!(port, same);
    let status = Arc::new(AtomicU16::new(503));
    serve(port.parse().unwrap(), status.clone()).await;
    rig.until(&manifests, progressing("answered 503")).await;
    status.store(204, Ordering::Relaxed);
    let observed = rig.until(&manifests, |health| *health == Health::Ready).await;
    assert_eq!(observed.resources[0].endpoint, Some(format!("http://127.0.0.1:{port}")));
    status.store(500, Ordering::Relaxed);
    rig.until(&manifests, progressing("was ready and is not any more: GET /health")).await;
    status.store(302, Ordering::Relaxed);
    rig.until(&manifests, |health| *health == Health::Ready).await;
}

#[tokio::test]
async fn readiness_by_command_and_by_settling() {
    let rig = Rig::new();
    let script = "trap 'exit 0' TERM; while [ ! -e go ]; do sleep 0.02; done; touch there; exec sleep 1000";
    let manifests = [
        shell(script, &json!({"ready": {"command": ["sh", "-c", "test -e there"]}})),
        object("Process", "other", &json!({"command": ["sleep", "1000"], "settle": "20ms"})),
    ];
    rig.apply(&manifests).await;
    let waits = "process main runs and is not ready yet: its check exited with code 1";
    rig.until(&manifests, |health| *health == Health::Progressing(waits.to_owned())).await;
    std::fs::write(rig.folder().join("work/go"), "").unwrap();
    rig.until(&manifests, |health| *health == Health::Ready).await;
}

#[tokio::test]
async fn a_free_port_stays_the_same_over_restarts() {
    let rig = Rig::new();
    let manifests = [shell(
        "echo $PORT_HTTP > port; echo up; exec sleep 1000",
        &json!({"ports": {"http": 0}, "ready": {"output": "up"}}),
    )];
    rig.bring_up(&manifests).await;
    let first = rig.written("port").await;
    rig.target.stop().await;
    std::fs::remove_file(rig.folder().join("work/port")).unwrap();
    rig.bring_up(&manifests).await;
    assert_eq!(rig.written("port").await, first);
}

#[tokio::test]
async fn limits_are_in_force() {
    let rig = Rig::new();
    let script = "ulimit -n; ulimit -d; ulimit -c; \
                  (head -c 200000000 /dev/zero | tail -n 1 > /dev/null) 2>&1 | tail -n 1; echo up; exec sleep 1000";
    let limits = json!({"limits": {"memory": "64MiB", "open_files": 77, "processes": 5000}, "ready": {"output": "up"}});
    rig.bring_up(&[shell(
        &format!("({script}) > out; cat out; echo up; exec sleep 1000").replace("exec sleep 1000)", "true)"),
        &limits,
    )])
    .await;
    let out = rig.written("out").await;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..3], ["77", "65536", "0"], "{out}");
    assert!(lines[3].contains("memory"), "{out}");
}

#[tokio::test]
async fn a_process_gets_its_own_environment_and_nothing_else() {
    let rig = Rig::new();
    let spec = json!({"ready": {"output": "up"}, "environment": {"DATASET": "air", "HOME": "/tmp"}, "ports": {"http": 0}});
    rig.bring_up(&[shell("env -0 | tr '\\0' '\\n' > env; echo up; exec sleep 1000", &spec)]).await;
    let text = rig.written("env").await;
    let get = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let release = rig.placement.release;
    assert_eq!(get("DATASET"), Some("air"));
    assert_eq!(get("HOME"), Some("/tmp"));
    assert_eq!(get("ORDERWIRE_API_KEY"), Some("a-secret-key"));
    assert_eq!(get("ORDERWIRE_CLIENT"), Some("acme"));
    assert_eq!(get("ORDERWIRE_RELEASE"), Some(release.to_string().as_str()));
    assert_eq!(get("ORDERWIRE_TRACE_ID"), Some(release.to_string().as_str()));
    assert!(get("TRACEPARENT").unwrap().starts_with(&format!("00-{}-", release.simple())));
    assert!(get("TMPDIR").unwrap().starts_with(get("PWD").unwrap()));
    let known = [
        "DATASET",
        "HOME",
        "LANG",
        "PATH",
        "PORT",
        "PORT_HTTP",
        "PWD",
        "SHLVL",
        "TMPDIR",
        "TRACEPARENT",
        "_",
        "OLDPWD",
    ];
    let names: BTreeSet<&str> = text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    let strange: Vec<_> =
        names.iter().filter(|name| !known.contains(name) && !name.starts_with("ORDERWIRE_")).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[tokio::test]
async fn secrets_are_on_no_command_line_and_in_no_file() {
    let rig = Rig::new();
    let manifests = [shell("echo up; exec sleep 1000", &up()), file("page", "a/b", "hello")];
    rig.bring_up(&manifests).await;
    let runs = rig.running();
    assert_eq!(runs.len(), 2);
    for running in &runs {
        let command = std::fs::read_to_string(format!("/proc/{}/cmdline", running.pid)).unwrap();
        assert!(!command.contains("a-secret-key"), "{command}");
        let has_it = running.environment.values().any(|value| value == "a-secret-key");
        assert_eq!(has_it, !running.is_supervisor);
    }
    let mut texts = Vec::new();
    read_all(&rig.folder(), &mut texts);
    assert!(texts.len() >= 3, "{texts:?}");
    assert!(!texts.iter().any(|text| text.contains("a-secret-key")), "{texts:?}");
    let mode = std::fs::metadata(rig.folder()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

fn read_all(folder: &Path, texts: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            read_all(&entry.path(), texts);
        } else {
            texts.push(String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned());
        }
    }
}

#[test]
fn manifests_that_would_do_harm_are_refused() {
    let rig = Rig::new();
    let hostile = [
        (file("f", "../up", ""), "spec.path"),
        (file("f", "/etc/passwd", ""), "spec.path"),
        (file("f", "a/../../b", ""), "spec.path"),
        (file("f", "a/./b", ""), "spec.path"),
        (file("f", "a//b", ""), "spec.path"),
        (file("f", "", ""), "spec.path"),
        (file("f", "a\0b", ""), "spec.path"),
        (file("f", ".tmp/x", ""), "spec.path"),
        (file("f", "a", &"x".repeat((1 << 20) + 1)), "spec.content"),
        (object("File", "../f", &json!({"path": "a", "content": ""})), "metadata.name"),
        (object("File", "f", &json!({"path": "a"})), "spec.content"),
        (shell("x", &json!({"environment": {"ORDERWIRE_HOME": "/"}})), "spec.environment.ORDERWIRE_HOME"),
        (shell("x", &json!({"environment": {"A=B": "1"}})), "spec.environment.A=B"),
        (shell("x", &json!({"environment": {"A": 1}})), "spec.environment"),
        (shell("x", &json!({"command": []})), "spec.command"),
        (shell("x", &json!({"command": ["a", 1]})), "spec.command"),
        (shell("x", &json!({"ready": {"http": {"port": "no"}}})), "spec.ready"),
        (
            shell("x", &json!({"ports": {"h": 0}, "ready": {"http": {"port": "h", "path": "/ x\r\nA: b"}}})),
            "spec.ready.http.path",
        ),
        (shell("x", &json!({"ready": {"tcp": {"port": "no", "x": 1}}})), "spec.ready"),
        (shell("x", &json!({"restart": {"first": "0s"}})), "spec.restart"),
        (shell("x", &json!({"failures": 0})), "spec.failures"),
        (shell("x", &json!({"limits": {"memory": "1B"}})), "spec.limits.memory"),
        (shell("x", &json!({"limits": {"cpu": 1}})), "spec.limits"),
    ];
    for (manifest, field) in hostile {
        let object = format!("{} {}: {field}", manifest.kind(), manifest.name());
        let faults = rig.target.check(&[manifest]);
        assert!(faults.iter().any(|fault| fault.starts_with(&object)), "{object}: {faults:?}");
    }
    let clash = [file("a", "x", ""), file("b", "x/y", "")];
    assert_eq!(rig.target.check(&clash), ["File b: spec.path: File a is in the way"]);
    let twice = [file("a", "x", ""), file("a", "y", "")];
    assert_eq!(rig.target.check(&twice), ["File a: metadata.name: another object of the kind has this name"]);
    let many: Vec<Manifest> = (0..101).map(|n| file(&format!("f{n}"), &n.to_string(), "")).collect();
    assert_eq!(rig.target.check(&many), ["a release has at most 100 objects of kind File"]);
}

/// Lines of output.
fn output(log: &Log) -> Vec<Value> {
    log.lines().into_iter().filter(|line| line["target"] == "orderwire::output").collect()
}

#[tokio::test]
async fn output_carries_its_labels_and_a_flood_is_bounded() {
    let log = Log::here();
    let rig = Rig::new();
    let script = "printf 'caf\\351 up\\n' >&2; yes flood | head -n 200000; touch flooded; \
                  while :; do echo after; sleep 0.05; done";
    rig.bring_up(&[shell(script, &up())]).await;
    let flooded = rig.folder().join("work/flooded");
    eventually("the end of the flood", || flooded.exists().then_some(())).await;
    let dropped = |line: &Value| line["fields"]["message"].as_str().unwrap().contains("lines dropped");
    eventually("the number of dropped lines", || output(&log).iter().any(dropped).then_some(())).await;
    let lines = output(&log);
    let floods = lines.iter().filter(|line| line["fields"]["message"] == "flood").count();
    assert!((100..5_000).contains(&floods), "{floods}");
    let first = &lines[0]["fields"];
    assert_eq!(first["message"], "caf\u{fffd} up");
    assert_eq!(first["stream"], "stderr");
    assert_eq!(first["process"], "main");
    assert_eq!(first["client"], "acme");
    assert_eq!(first["product"], "sample");
    assert_eq!(first["release"], rig.placement.release.to_string());
    assert_eq!(first["trace_id"], rig.placement.release.to_string());
}

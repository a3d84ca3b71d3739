//! `kill -9` of whoever watches over processes.

use std::process::Stdio;
use std::time::Duration;

use orderwire_provisioner::target::{Health, Manifest, Target};
use orderwire_provisioner::targets::process::{ProcessOptions, ProcessTarget};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Child;

use crate::process_rig::{Rig, eventually, example, kill, options, running, shell};

/// The daemon waits for its end: it does not hear SIGTERM.
const GRACE: Duration = Duration::from_millis(300);

/// Has a daemon, which no signal of a parent reaches.
fn with_daemon() -> [Manifest; 1] {
    let script = "setsid sh -c 'trap \"\" TERM HUP; touch daemon; while :; do sleep 1; done' & \
                  while [ ! -e daemon ]; do sleep 0.02; done; echo up; exec sleep 1000";
    [shell(script, &json!({"ready": {"output": "up"}}))]
}

/// A process that owns a target of the rig's folder and runs these. It may open 123
/// files, until it asks for more.
async fn owner(rig: &Rig, manifests: &[Manifest], grace: u64) -> Child {
    let mut owner = tokio::process::Command::new("sh")
        .args(["-c", "ulimit -Sn 123; exec \"$@\"", "sh"])
        .arg(example("own"))
        .arg(rig.home.path())
        .arg(serde_json::to_string(manifests).unwrap())
        .arg(rig.placement.release.to_string())
        .arg(example("supervise"))
        .arg(grace.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(owner.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    assert_eq!(line, "applied\n");
    let daemon = rig.folder().join("work/daemon");
    eventually("the daemon", || daemon.exists().then_some(())).await;
    owner
}

#[tokio::test]
async fn everything_ends_when_its_owner_is_killed() {
    let rig = Rig::with_grace(GRACE);
    let mut owner = owner(&rig, &with_daemon(), 1).await;
    assert!(rig.running().len() >= 3, "{:?}", rig.running());
    owner.kill().await.unwrap();
    eventually("nothing runs", || rig.running().is_empty().then_some(())).await;
}

#[tokio::test]
async fn everything_ends_when_its_owner_is_killed_while_it_waits_for_the_end() {
    let rig = Rig::with_grace(GRACE);
    let script = "trap 'touch termed' TERM; touch daemon; echo up; while :; do sleep 0.05; done";
    let manifests = [shell(script, &json!({"ready": {"output": "up"}}))];
    // Longer than anything here is waited for.
    let mut owner = owner(&rig, &manifests, 3_600).await;
    owner.stdin.as_mut().unwrap().write_all(b"stop\n").await.unwrap();
    let termed = rig.folder().join("work/termed");
    eventually("the end has begun", || termed.exists().then_some(())).await;
    assert!(!rig.running().is_empty());
    owner.kill().await.unwrap();
    eventually("nothing runs", || rig.running().is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_process_without_a_limit_of_open_files_has_the_one_that_its_owner_was_started_with() {
    let rig = Rig::with_grace(GRACE);
    let script = "touch daemon; (ulimit -Sn; ulimit -Hn) > limits; exec sleep 1000";
    let owner = owner(&rig, &[shell(script, &json!({}))], 1).await;
    let limits = rig.written("limits").await;
    let (soft, hard) = limits.trim().split_once('\n').unwrap();
    assert_eq!(soft, "123");
    let own = std::fs::read_to_string(format!("/proc/{}/limits", owner.id().unwrap())).unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let own: Vec<&str> = own.split_whitespace().collect();
    assert_eq!(own[..2], [hard, hard]);
}

#[tokio::test]
async fn a_supervisor_that_hangs_is_killed_and_its_release_is_missing() {
    let mut rig = Rig::with_grace(GRACE);
    rig.target = ProcessTarget::new(ProcessOptions {
        // Four of these are missed before it counts.
        beat: Duration::from_secs(1),
        ..options(rig.home.path(), GRACE)
    });
    let manifests = with_daemon();
    rig.bring_up(&manifests).await;
    let before = rig.running();
    let supervisor = before.iter().find(|running| running.is_supervisor).unwrap();
    // tidy: sleep because that nothing is said in this time must not count
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.observe(&manifests).await.health, Health::Ready);
    kill_process(Pid::from_raw(supervisor.pid).unwrap(), Signal::STOP).unwrap();
    let hung = Health::Missing("its supervisor hung and was killed".to_owned());
    rig.until(&manifests, |health| *health == hung).await;
    rig.bring_up(&manifests).await;
    let old: Vec<_> = rig.running().into_iter().filter(|running| before.contains(running)).collect();
    assert!(old.is_empty(), "{old:?}");
}

#[tokio::test]
async fn a_stop_ends_what_a_killed_supervisor_has_left() {
    let rig = Rig::with_grace(GRACE);
    let manifests = with_daemon();
    rig.bring_up(&manifests).await;
    kill(rig.running().iter().find(|running| running.is_supervisor).unwrap().pid);
    rig.until(&manifests, |health| matches!(health, Health::Missing(_))).await;
    assert!(!rig.running().is_empty());
    rig.target.stop().await;
    assert_eq!(rig.running(), []);
}

#[tokio::test]
async fn the_next_owner_kills_what_owner_and_supervisor_left_when_both_were_killed() {
    let rig = Rig::with_grace(GRACE);
    let mut owner = owner(&rig, &with_daemon(), 1).await;
    let supervisor = rig.running().into_iter().find(|running| running.is_supervisor).unwrap();
    // Stopped, so that it sees nothing of its owner's end.
    kill_process(Pid::from_raw(supervisor.pid).unwrap(), Signal::STOP).unwrap();
    owner.kill().await.unwrap();
    kill(supervisor.pid);
    let one_is_left =
        || (rig.running().iter().filter(|running| !running.is_supervisor).count() > 0).then_some(());
    eventually("the daemon is left", one_is_left).await;
    let next = ProcessTarget::new(options(rig.home.path(), GRACE));
    eventually("nothing runs", || rig.running().is_empty().then_some(())).await;
    assert!(!next.remove(&rig.placement).await.unwrap().is_empty());
    assert!(!rig.folder().exists());
}

#[tokio::test]
async fn a_killed_supervisor_is_noticed_and_no_second_copy_runs_afterwards() {
    let rig = Rig::with_grace(GRACE);
    let manifests = with_daemon();
    rig.bring_up(&manifests).await;
    let before = rig.running();
    kill(before.iter().find(|running| running.is_supervisor).unwrap().pid);
    rig.until(&manifests, |health| matches!(health, Health::Missing(_))).await;
    rig.bring_up(&manifests).await;
    let after = rig.running();
    let old: Vec<_> = after.iter().filter(|running| before.contains(running)).collect();
    assert!(old.is_empty(), "{old:?}");
    assert_eq!(after.iter().filter(|running| running.is_supervisor).count(), 1);
    rig.remove().await;
    assert_eq!(rig.running(), []);
}

#[tokio::test]
async fn a_new_owner_waits_for_the_supervisor_of_the_last() {
    let rig = Rig::with_grace(GRACE);
    let manifests = with_daemon();
    let mut owner = owner(&rig, &manifests, 1).await;
    let before = rig.running();
    owner.kill().await.unwrap();
    // The daemon ignores SIGTERM, so the old supervisor still gives it its grace.
    let next = ProcessTarget::new(options(rig.home.path(), GRACE));
    next.apply(&rig.placement, &rig.desired(&manifests), &rig.grant).await.unwrap();
    let after = running(rig.home.path(), rig.placement.release);
    let old: Vec<_> = after.iter().filter(|running| before.contains(running)).collect();
    assert!(old.is_empty(), "{old:?}");
    next.remove(&rig.placement).await.unwrap();
    assert_eq!(rig.running(), []);
}

#[tokio::test]
async fn a_folder_behind_a_link_is_the_same_in_every_run() {
    let mut rig = Rig::with_grace(GRACE);
    let link = rig.home.path().join("link");
    std::os::unix::fs::symlink(rig.home.path(), &link).unwrap();
    rig.target = ProcessTarget::new(options(&link.join("new"), GRACE));
    rig.bring_up(&[shell("echo up; exec sleep 1000", &json!({"ready": {"output": "up"}}))]).await;
    let real = rig.home.path().join("new");
    assert_eq!(running(&real, rig.placement.release).len(), 2);
    rig.remove().await;
    assert_eq!(running(&real, rig.placement.release), []);
}

#[tokio::test]
async fn dropping_the_target_ends_everything() {
    let rig = Rig::with_grace(GRACE);
    rig.bring_up(&with_daemon()).await;
    let Rig { home, target, placement, .. } = rig;
    drop(target);
    eventually("nothing runs", || running(home.path(), placement.release).is_empty().then_some(())).await;
}

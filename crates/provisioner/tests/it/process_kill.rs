//! `kill -9` of whoever watches over processes.

use std::process::Stdio;
use std::time::Duration;

use orderwire_provisioner::target::{Health, Manifest, Target};
use orderwire_provisioner::targets::process::ProcessTarget;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
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

/// A process that owns a target of the rig's folder and runs these.
async fn owner(rig: &Rig, manifests: &[Manifest]) -> Child {
    let mut owner = tokio::process::Command::new(example("own"))
        .arg(rig.home.path())
        .arg(serde_json::to_string(manifests).unwrap())
        .arg(rig.placement.release.to_string())
        .arg(example("supervise"))
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
    let mut owner = owner(&rig, &with_daemon()).await;
    assert!(rig.running().len() >= 3, "{:?}", rig.running());
    owner.kill().await.unwrap();
    eventually("nothing runs", || rig.running().is_empty().then_some(())).await;
}

#[tokio::test]
async fn the_next_owner_kills_what_owner_and_supervisor_left_when_both_were_killed() {
    let rig = Rig::with_grace(GRACE);
    let mut owner = owner(&rig, &with_daemon()).await;
    let supervisor = rig.running().into_iter().find(|running| running.is_supervisor).unwrap();
    // Stopped, so that it sees nothing of its owner's end.
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(supervisor.pid).unwrap(),
        rustix::process::Signal::STOP,
    )
    .unwrap();
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
    let mut owner = owner(&rig, &manifests).await;
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

//! Gates: a site that answers over a real socket, as orders wait for it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use orderwire_provisioner::ReconcilerOptions;
use orderwire_store::Orders as _;
use orderwire_store::orders::{Order, Release};
use orderwire_types::{OrderState, ReleaseState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::reconcile::idle;
use crate::reconcile_world::{Running, World};

/// How long a test waits for something at most.
const LONGEST: Duration = Duration::from_secs(60);
/// The patience of the products with a gate.
const PATIENCE: Duration = Duration::from_secs(3_600);
const REFUSED: &str = "gate http /healthz of opening site: 503, wanted 200";

/// How the site answers.
#[derive(Clone)]
enum Answers {
    With(u16, &'static str),
    /// Another site is to be asked instead.
    Elsewhere(SocketAddr),
    /// Not at all.
    Never,
    /// With a body that has no end.
    Endlessly,
}

/// A server that notes the first line of what it is asked.
struct Site {
    address: SocketAddr,
    answers: Arc<Mutex<Answers>>,
    asked: watch::Receiver<Vec<String>>,
    _serving: JoinSet<()>,
}

impl Site {
    async fn open(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (note, asked) = watch::channel(Vec::new());
        let answers = Arc::new(Mutex::new(answers));
        let mut serving = JoinSet::new();
        let answers_now = answers.clone();
        serving.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                open.spawn(answer(stream, note.clone(), answers_now.clone()));
            }
        });
        Self { address, answers, asked, _serving: serving }
    }

    fn answer(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
    }

    fn count(&self) -> usize {
        self.asked.borrow().len()
    }

    /// Lets time pass until it is asked once more.
    async fn asked_again(&self, world: &World) {
        let (mut asked, seen, begin) = (self.asked.clone(), self.count(), Instant::now());
        while timeout(Duration::from_millis(10), asked.wait_for(|asked| asked.len() > seen)).await.is_err() {
            assert!(begin.elapsed() < LONGEST, "it is not asked again");
            world.time.advance(Duration::from_millis(500));
        }
    }
}

async fn answer(mut stream: TcpStream, note: watch::Sender<Vec<String>>, answers: Arc<Mutex<Answers>>) {
    let mut head = vec![0; 4_096];
    let length = stream.read(&mut head).await.unwrap();
    let line = String::from_utf8_lossy(&head[..length]).lines().next().unwrap_or_default().to_owned();
    // Before it is noted: a test may choose another one right afterwards.
    let answers = answers.lock().unwrap().clone();
    note.send_modify(|asked| asked.push(line));
    // Whoever asked may have gone.
    match answers {
        Answers::With(status, body) => {
            let length = body.len();
            let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(text.as_bytes()).await.ok();
        }
        Answers::Elsewhere(other) => {
            let text = format!(
                "HTTP/1.1 302 X\r\nlocation: http://{other}/healthz\r\ncontent-length: 4\r\n\r\nfine"
            );
            stream.write_all(text.as_bytes()).await.ok();
        }
        Answers::Never => while stream.read(&mut head).await.is_ok_and(|length| length > 0) {},
        Answers::Endlessly => {
            stream.write_all(b"HTTP/1.1 200 X\r\n\r\n").await.ok();
            while stream.write_all(&[b'x'; 8_192]).await.is_ok() {}
        }
    }
}

const FINE: Answers = Answers::With(200, "all is fine here");
const AWAY: Answers = Answers::With(503, "fine");

/// A world whose releases are reached at a site.
async fn with_site(answers: Answers) -> (World, Site) {
    let (world, site) = (World::new(), Site::open(answers).await);
    *world.target.address.lock().unwrap() = Some(site.address.to_string());
    (world, site)
}

/// A gate may take less than usual.
fn start(world: &World) -> Running {
    let options = ReconcilerOptions { gate: Duration::from_millis(300), ..World::options() };
    world.start_with(world.dying(None), options)
}

/// Lets time pass until the order says that it waits for this.
async fn waits_for(world: &World, order: &Order, reason: &str) {
    let begin = Instant::now();
    loop {
        let now = world.get(order.id).await;
        if now.state == OrderState::Waiting && now.reason.as_deref() == Some(reason) {
            return;
        }
        assert!(begin.elapsed() < LONGEST && !now.state.is_final(), "it does not wait for {reason}: {now:?}");
        world.time.advance(Duration::from_millis(500));
        let mut changes = world.store.changes();
        changes.borrow_and_update();
        // Whichever comes first: a change, or the end of the wait.
        timeout(Duration::from_millis(10), changes.changed()).await.ok();
    }
}

#[tokio::test]
async fn an_order_is_ready_once_its_gate_lets_it_pass() {
    let (world, site) = with_site(FINE).await;
    let running = start(&world);
    let order = world.ordered("gated-rollback", "ready").await;
    assert_eq!((order.state, order.reason), (OrderState::Ready, None));
    assert_eq!(*site.asked.borrow(), ["GET /healthz HTTP/1.1"]);
    // Where it is reached is known; where its ports are is not.
    let resources = world.release(order.release.unwrap()).await.status.resources;
    let openings = format!(r#""openings":{{"site":"http://{}"}}"#, site.address);
    assert!(resources.get().contains(&openings) && !resources.get().contains("ports"), "{resources:?}");
    // The same again is not asked for anything.
    assert_eq!(world.ordered("gated-rollback", "ready").await.state, OrderState::Unchanged);
    assert_eq!(site.count(), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_gate_that_lets_it_pass_later_is_waited_for_without_a_restart() {
    let (world, site) = with_site(AWAY).await;
    let running = start(&world);
    let order = world.accept(world.order("gated-rollback", "ready")).await;
    waits_for(&world, &order, REFUSED).await;
    site.asked_again(&world).await;
    // What is wanted is the whole of it.
    site.answer(Answers::With(200, "not well"));
    waits_for(
        &world,
        &order,
        "gate http /healthz of opening site: \"fine\" is not in the first 64 KiB of the answer",
    )
    .await;
    site.answer(FINE);
    site.asked_again(&world).await;
    assert_eq!(world.finished(order.id).await.state, OrderState::Ready);
    assert_eq!(world.target.applied().len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_gate_that_never_lets_an_update_pass_rolls_it_back_and_says_why() {
    let (world, site) = with_site(FINE).await;
    let running = start(&world);
    let release = world.ordered("gated-rollback", "ready").await.release.unwrap();
    site.answer(AWAY);
    let update = world.accept(world.order("gated-rollback", "ready 2")).await;
    waits_for(&world, &update, REFUSED).await;
    world.time.advance(PATIENCE);
    world.in_state(update.id, OrderState::RollingBack).await;
    site.answer(FINE);
    site.asked_again(&world).await;
    let update = world.finished(update.id).await;
    assert_eq!(update.state, OrderState::RolledBack);
    assert_eq!(update.reason.unwrap(), format!("not healthy within 3600 s: {REFUSED}"));
    assert_eq!(world.target.running(release)[0].manifests[0].0["spec"]["number"], 1);
    assert_eq!(world.release(release).await.status.state, ReleaseState::Ready);
    running.stop().await;
}

#[tokio::test]
async fn what_is_brought_back_has_to_pass_its_gate_too() {
    let (world, site) = with_site(FINE).await;
    let running = start(&world);
    let release = world.ordered("gated-rollback", "ready").await.release.unwrap();
    site.answer(AWAY);
    let update = world.accept(world.order("gated-rollback", "fails 2")).await;
    world.in_state(update.id, OrderState::RollingBack).await;
    // Asked twice, it has heard the first answer.
    site.asked_again(&world).await;
    site.asked_again(&world).await;
    world.time.advance(PATIENCE);
    let update = world.finished(update.id).await;
    assert_eq!(update.state, OrderState::Failed);
    let reason = update.reason.unwrap();
    let both = "it exited 5 times; bringing back revision 1 failed too: not healthy within 3600 s";
    assert_eq!(reason, format!("{both}: {REFUSED}"));
    // Its target says that it is healthy; its gate does not.
    let seen = site.count();
    let degraded = |release: &Release| release.status.state == ReleaseState::Degraded;
    world.release_where(release, "it is degraded", degraded).await;
    site.asked_again(&world).await;
    assert!(site.count() > seen && degraded(&world.release(release).await));
    site.answer(FINE);
    site.asked_again(&world).await;
    let ready = |release: &Release| release.status.state == ReleaseState::Ready;
    world.release_where(release, "it is ready", ready).await;
    running.stop().await;
}

#[tokio::test]
async fn a_kept_release_becomes_ready_when_its_gate_lets_it_pass_later() {
    let (world, site) = with_site(AWAY).await;
    let running = start(&world);
    let order = world.accept(world.order("gated-keep", "ready")).await;
    waits_for(&world, &order, REFUSED).await;
    world.time.advance(PATIENCE);
    let order = world.finished(order.id).await;
    assert_eq!(order.state, OrderState::Failed);
    let release = order.release.unwrap();
    site.asked_again(&world).await;
    let status = world.release(release).await.status;
    assert_eq!((status.state, status.ready), (ReleaseState::Degraded, None));
    assert_eq!(status.reason.unwrap(), format!("not healthy within 3600 s: {REFUSED}"));
    site.answer(FINE);
    site.asked_again(&world).await;
    let ready = |release: &Release| release.status.state == ReleaseState::Ready;
    assert_eq!(world.release_where(release, "it is ready", ready).await.status.ready, Some(1));
    // After a restart, what was ready is brought back without being asked.
    running.stop().await;
    site.answer(AWAY);
    let seen = site.count();
    world.target.vanish(release);
    let running = start(&world);
    let back = |release: &Release| release.status.keys_revoked == 1;
    world.release_where(release, "it is back", back).await;
    world.until("nothing is to be done", async || idle(&world).await).await;
    assert!(ready(&world.release(release).await));
    assert_eq!((site.count(), world.target.running(release).len()), (seen, 1));
    running.stop().await;
}

#[tokio::test]
async fn a_site_that_means_harm_is_waited_for_within_bounds() {
    let other = Site::open(FINE).await;
    let (world, site) = with_site(AWAY).await;
    let running = start(&world);
    let order = world.accept(world.order("gated-rollback", "ready")).await;
    world.in_state(order.id, OrderState::Waiting).await;
    for (answers, reason) in [
        (Answers::Never, "no answer within 300ms"),
        (Answers::Endlessly, "\"fine\" is not in the first 64 KiB of the answer"),
        (Answers::Elsewhere(other.address), "302, wanted 200"),
    ] {
        site.answer(answers);
        waits_for(&world, &order, &format!("gate http /healthz of opening site: {reason}")).await;
    }
    assert_eq!(other.count(), 0, "a redirect is not followed");
    site.answer(FINE);
    site.asked_again(&world).await;
    assert_eq!(world.finished(order.id).await.state, OrderState::Ready);
    running.stop().await;
}

#[tokio::test]
async fn a_gate_that_takes_its_time_holds_no_slot() {
    let (mut world, site) = with_site(Answers::Never).await;
    world.concurrency = 1;
    let options = ReconcilerOptions { gate: LONGEST, ..World::options() };
    let running = world.start_with(world.dying(None), options);
    let order = world.accept(world.order("gated-rollback", "ready")).await;
    site.asked.clone().wait_for(|asked| asked.len() == 1).await.unwrap();
    let other = Order { name: "other".to_owned(), ..world.order("rollback", "ready") };
    let other = world.accept(other).await;
    assert_eq!(world.finished(other.id).await.state, OrderState::Ready);
    assert_eq!((world.get(order.id).await.state, site.count()), (OrderState::Waiting, 1));
    running.stop().await;
}

#[tokio::test]
async fn only_a_port_that_the_target_reports_of_what_is_healthy_is_asked() {
    let (world, site) = with_site(AWAY).await;
    *world.target.address.lock().unwrap() = None;
    let running = start(&world);
    let order = world.accept(world.order("gated-rollback", "later")).await;
    let release = world.in_state(order.id, OrderState::Waiting).await.release.unwrap();
    waits_for(&world, &order, "it does not answer yet").await;
    world.target.become_healthy(release);
    world.target.tell(release);
    waits_for(&world, &order, "gate http /healthz of opening site: its port answers nowhere").await;
    assert_eq!(site.count(), 0);
    *world.target.address.lock().unwrap() = Some(site.address.to_string());
    waits_for(&world, &order, REFUSED).await;
    // Nobody knows who has its port now.
    world.target.become_ill(release);
    world.target.tell(release);
    waits_for(&world, &order, "it does not answer yet").await;
    let seen = site.count();
    site.answer(FINE);
    for _ in 0..20 {
        let looked = *world.target.activity.borrow();
        world.time.advance(Duration::from_secs(5));
        world
            .until("it is looked at", async || (*world.target.activity.borrow() > looked).then_some(()))
            .await;
    }
    assert_eq!(site.count(), seen, "it is asked although it is not healthy");
    running.stop().await;
}

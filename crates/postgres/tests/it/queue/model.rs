//! The engine beside the port's reference engine: random commits, of several operations each,
//! must have the same outcomes and leave the same queues.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use orderwire_postgres::PostgresQueue;
use orderwire_queue::ErrorKind;
use orderwire_queue::engine::{
    Append, Claim, Edit, Engine, LaneKey, NamedRequest, NewEntry, Op, Origin, Outcome, Reject, Sweep,
};
use orderwire_queue::model::{DeadFilter, DeadLetter, DeliveryId, Position, Settlement};
use orderwire_queue::testkit::{ModelEngine, ModelPlace};
use orderwire_types::scope::Clients;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use super::support::{at, claim, entry, key, name, number, open, queues, settle};
use crate::support::{TestDatabase, TestServer, connect};

const TASKS: [&str; 2] = ["t1", "t2"];

/// What may happen. Numbers choose among what there is at that moment.
#[derive(Clone, Debug)]
enum Step {
    Append { client: u8, key: Option<u8>, queues: u8, named: bool, request: Option<u8> },
    Repeat { pick: usize },
    Reject { client: u8, named: bool },
    Unknown,
    Claim { queue: usize, only: Option<u8>, max: usize, max_bytes: Option<usize>, lease: i64 },
    GoOn { picks: Vec<usize>, queue: usize, max: usize, lease: i64 },
    Settle { pick: usize, only: Option<u8>, how: Settlement },
    Extend { pick: usize, lease: i64 },
    Expire,
    Replay { picks: Vec<usize> },
    Edit { pick: usize },
    Discard { pick: usize },
    Advance { pick: usize },
    Bury { pick: usize },
    Pause { queue: usize, paused: bool },
    Sweep { back: i64 },
}

/// A commit: what happens together, and how much later than the one before.
type Group = (Vec<Step>, i64);

fn step() -> impl Strategy<Value = Step> {
    let cause = || "a cause".to_owned();
    let how = prop_oneof![
        4 => Just(Settlement::Ack),
        2 => proptest::option::of(0..4u64).prop_map(move |delay| Settlement::Retry {
            delay: delay.map(Duration::from_secs),
            cause: cause(),
        }),
        1 => Just(Settlement::Fail { cause: cause() }),
        1 => Just(Settlement::Release),
    ];
    let only = || proptest::option::weighted(0.2, 0..3u8);
    let pick = any::<usize>;
    prop_oneof![
        9 => (0..3u8, proptest::option::weighted(0.8, 0..2u8), 1..8u8, any::<bool>(),
              proptest::option::weighted(0.2, 0..4u8))
            .prop_map(|(client, key, queues, named, request)| Step::Append { client, key, queues, named, request }),
        2 => pick().prop_map(|pick| Step::Repeat { pick }),
        1 => (0..3u8, any::<bool>()).prop_map(|(client, named)| Step::Reject { client, named }),
        1 => Just(Step::Unknown),
        8 => (0..2usize, only(), 1..7usize, proptest::option::weighted(0.3, 1..5usize), 1..9i64)
            .prop_map(|(queue, only, max, max_bytes, lease)| Step::Claim { queue, only, max, max_bytes, lease }),
        4 => (proptest::collection::vec(pick(), 1..4), 0..2usize, 1..6usize, 1..9i64)
            .prop_map(|(picks, queue, max, lease)| Step::GoOn { picks, queue, max, lease }),
        14 => (pick(), only(), how).prop_map(|(pick, only, how)| Step::Settle { pick, only, how }),
        1 => (pick(), 1..9i64).prop_map(|(pick, lease)| Step::Extend { pick, lease }),
        3 => Just(Step::Expire),
        2 => proptest::collection::vec(pick(), 1..4).prop_map(|picks| Step::Replay { picks }),
        1 => pick().prop_map(|pick| Step::Edit { pick }),
        1 => pick().prop_map(|pick| Step::Discard { pick }),
        1 => pick().prop_map(|pick| Step::Advance { pick }),
        1 => pick().prop_map(|pick| Step::Bury { pick }),
        1 => (0..2usize, any::<bool>()).prop_map(|(queue, paused)| Step::Pause { queue, paused }),
        1 => (0..20i64).prop_map(|back| Step::Sweep { back }),
    ]
}

fn groups() -> impl Strategy<Value = Vec<Group>> {
    let group = (proptest::collection::vec(step(), 1..7), prop_oneof![2 => Just(0), 1 => 1..5i64]);
    proptest::collection::vec(group, 1..40)
}

/// How many runs of random commits, where the environment does not say it.
const RUNS: u32 = 12;

#[test]
fn random_commits_have_the_outcomes_of_the_reference() {
    // It waits for no disk: what is durable is another test's matter.
    let server = TestServer::start("fsync = off\nfull_page_writes = off");
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(RUNS);
    let config = ProptestConfig {
        cases,
        max_shrink_iters: 200,
        source_file: Some(file!()),
        ..ProptestConfig::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = TestRunner::new(config).run(&groups(), |groups| {
        runtime.block_on(async {
            let mut run = Run::new(&server.url()).await;
            for group in groups {
                run.commit(group).await?;
            }
            run.recount().await
        })
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// One operation as each of the two engines is asked it: their ids differ.
struct Asked {
    real: Op,
    model: Op,
}

struct Run {
    database: TestDatabase,
    real: PostgresQueue,
    model: ModelEngine,
    /// Every delivery that was ever handed out: queue, and its id here and there.
    handed: Vec<(&'static str, DeliveryId, DeliveryId)>,
    named: Vec<NewEntry>,
    next: u64,
    now: i64,
}

impl Run {
    async fn new(server: &str) -> Self {
        let database = TestDatabase::on(server).await;
        let real = open(&database.url()).await;
        real.declare(&queues(), Origin::Configuration).await.unwrap();
        let model = ModelPlace::default().engine();
        model.declare(&queues(), Origin::Configuration).await.unwrap();
        Self { database, real, model, handed: Vec::new(), named: Vec::new(), next: 0, now: 0 }
    }

    fn time(&self) -> Timestamp {
        at(self.now)
    }

    async fn commit(&mut self, (steps, later): Group) -> Result<(), TestCaseError> {
        self.now += later;
        let mut asked = Vec::new();
        for step in &steps {
            asked.extend(self.ask(step).await?);
        }
        let (real, model): (Vec<_>, Vec<_>) =
            asked.into_iter().map(|asked| (asked.real, asked.model)).unzip();
        let ops = real.clone();
        let real = self.real.commit(real, self.time()).await.unwrap();
        let model = self.model.commit(model, self.time()).await.unwrap();
        prop_assert_eq!(real.outcomes.len(), ops.len());
        for ((op, real), model) in ops.iter().zip(real.outcomes).zip(model.outcomes) {
            self.same(op, real, model)?;
        }
        prop_assert_eq!(real.next_expiry, model.next_expiry, "the next expiry");
        // The reference says so of a stream, too, that something went away from.
        let real: BTreeSet<_> = real.ready.into_iter().collect();
        let missing: Vec<_> = model
            .ready
            .iter()
            .filter(|queue| TASKS.contains(&queue.as_str()) && !real.contains(*queue))
            .collect();
        prop_assert!(missing.is_empty(), "{missing:?} became ready and nobody says so");
        self.compare().await
    }

    /// What a step asks of the two engines; nothing where there is nothing to choose.
    async fn ask(&mut self, step: &Step) -> Result<Option<Asked>, TestCaseError> {
        let both = |op: Op| Some(Asked { real: op.clone(), model: op });
        Ok(match step {
            Step::Append { client, key: lane, queues, named, request } => {
                let entry = self.entry(*client, *lane, *queues, *named);
                let request = request
                    .map(|n| NamedRequest { id: Uuid::from_u128(u128::from(n) / 2), fingerprint: [n; 16] });
                both(Op::Append(Append { entries: vec![entry], request }))
            }
            Step::Repeat { pick } => {
                if self.named.is_empty() {
                    return Ok(None);
                }
                // Twice in one append, beside a new one.
                let again = self.named[pick % self.named.len()].clone();
                let new = self.entry(0, None, 1, false);
                both(Op::Append(Append { entries: vec![again.clone(), new, again], request: None }))
            }
            Step::Reject { client, named } => {
                let mut entry = self.entry(*client, None, 1, *named);
                entry.queues.truncate(1);
                both(Op::Reject(Reject { entry, cause: "never".to_owned() }))
            }
            Step::Unknown => both(Op::Append(Append {
                entries: vec![entry(0, "0", &[("nobody", LaneKey::Alone)])],
                request: None,
            })),
            Step::Claim { queue, only, max, max_bytes, lease } => both(Op::Claim(Claim {
                clients: only.map_or(Clients::All, only_of),
                max_bytes: max_bytes.unwrap_or(usize::MAX),
                ..claim(TASKS[*queue], *max, at(self.now + lease))
            })),
            Step::GoOn { picks, queue, max, lease } => {
                let of_queue = |(other, ..): &&(&str, _, _)| *other == TASKS[*queue];
                let handed: Vec<_> = self.handed.iter().filter(of_queue).collect();
                if handed.is_empty() {
                    return Ok(None);
                }
                let chosen: Vec<_> =
                    picks.iter().map(|pick| handed[handed.len() - 1 - pick % handed.len().min(6)]).collect();
                let claim = claim(TASKS[*queue], *max, at(self.now + lease));
                Some(Asked {
                    real: Op::Claim(Claim {
                        behind: chosen.iter().map(|(_, real, _)| *real).collect(),
                        ..claim.clone()
                    }),
                    model: Op::Claim(Claim {
                        behind: chosen.iter().map(|(.., model)| *model).collect(),
                        ..claim
                    }),
                })
            }
            Step::Settle { pick, only, how } => {
                let Some((queue, real, model)) = self.pick(*pick) else { return Ok(None) };
                let with = |id| match settle(queue, id, how.clone()) {
                    Op::Settle(mut settle) => {
                        settle.clients = only.map_or(Clients::All, only_of);
                        Op::Settle(settle)
                    }
                    other => other,
                };
                Some(Asked { real: with(real), model: with(model) })
            }
            Step::Extend { pick, lease } => {
                let Some((queue, real, model)) = self.pick(*pick) else { return Ok(None) };
                let until = at(self.now + lease);
                let with =
                    |delivery| Op::Extend { queue: name(queue), delivery, clients: Clients::All, until };
                Some(Asked { real: with(real), model: with(model) })
            }
            Step::Expire => both(Op::Expire { limit: 1_000 }),
            Step::Replay { picks } => {
                let (real, model) = (letters(&self.real).await, letters(&self.model).await);
                if real.is_empty() {
                    return Ok(None);
                }
                let ids = |of: &[DeadLetter]| picks.iter().map(|pick| of[pick % of.len()].id).collect();
                let principal = || "tester".to_owned();
                Some(Asked {
                    real: Op::Replay { ids: ids(&real), principal: principal() },
                    model: Op::Replay { ids: ids(&model), principal: principal() },
                })
            }
            Step::Edit { pick } => {
                let (real, model) = (letters(&self.real).await, letters(&self.model).await);
                if real.is_empty() {
                    return Ok(None);
                }
                let edit = |of: &[DeadLetter]| {
                    let letter = &of[pick % of.len()];
                    Op::Edit(Edit {
                        id: letter.id,
                        clients: Clients::All,
                        seen: letter.body.clone(),
                        // The same number.
                        body: Bytes::from([b"0", letter.body.as_ref()].concat()),
                        principal: "tester".to_owned(),
                        reason: None,
                    })
                };
                Some(Asked { real: edit(&real), model: edit(&model) })
            }
            Step::Discard { pick } => {
                let (real, model) = (letters(&self.real).await, letters(&self.model).await);
                if real.is_empty() {
                    return Ok(None);
                }
                let discard = |of: &[DeadLetter]| Op::Discard {
                    ids: vec![of[pick % of.len()].id],
                    principal: "tester".to_owned(),
                    reason: "no use".to_owned(),
                };
                Some(Asked { real: discard(&real), model: discard(&model) })
            }
            Step::Advance { pick } => {
                let (real, model) = (stream(&self.real).await, stream(&self.model).await);
                if real.is_empty() {
                    return Ok(None);
                }
                let to =
                    |of: &[(u64, Position)]| Op::Advance { queue: name("s1"), to: of[pick % of.len()].1 };
                Some(Asked { real: to(&real), model: to(&model) })
            }
            Step::Bury { pick } => {
                let (real, model) = (stream(&self.real).await, stream(&self.model).await);
                if real.is_empty() {
                    return Ok(None);
                }
                let bury = |of: &[(u64, Position)]| Op::Bury {
                    queue: name("s1"),
                    position: of[pick % of.len()].1,
                    attempts: 2,
                    cause: "bad".to_owned(),
                };
                Some(Asked { real: bury(&real), model: bury(&model) })
            }
            Step::Pause { queue, paused } => both(Op::Pause { queue: name(TASKS[*queue]), paused: *paused }),
            Step::Sweep { back } => {
                let before = at(self.now - back);
                // Steps are counted otherwise: an append's are one row here.
                let steps_before = Timestamp::UNIX_EPOCH;
                both(Op::Sweep(Sweep {
                    remembered_before: before,
                    steps_before,
                    dead_before: before,
                    limit: 1_000,
                }))
            }
        })
    }

    fn entry(&mut self, client: u8, lane: Option<u8>, queues: u8, named: bool) -> NewEntry {
        let lane = lane.map_or(LaneKey::Alone, |lane| key(&lane.to_string()));
        let mut route = Vec::new();
        for (bit, queue) in TASKS.iter().enumerate() {
            if queues & (1 << bit) != 0 {
                route.push((*queue, lane.clone()));
            }
        }
        if queues & 4 != 0 {
            route.push(("s1", LaneKey::Stream));
        }
        let mut entry = entry(self.next, &client.to_string(), &route);
        self.next += 1;
        entry.accepted_at = self.time();
        if named {
            entry.remembered = Some(entry.event_id.0);
            self.named.push(entry.clone());
        }
        entry
    }

    fn pick(&self, pick: usize) -> Option<(&'static str, DeliveryId, DeliveryId)> {
        // Mostly the latest, sometimes one that is long over.
        let back = (pick % 8).min(self.handed.len().checked_sub(1)?);
        Some(self.handed[self.handed.len() - 1 - back])
    }

    fn same(
        &mut self,
        op: &Op,
        real: Result<Outcome, orderwire_queue::Error>,
        model: Result<Outcome, orderwire_queue::Error>,
    ) -> Result<(), TestCaseError> {
        match (real, model) {
            (Ok(Outcome::Claimed(real)), Ok(Outcome::Claimed(model))) => {
                let said = |of: &[orderwire_queue::model::Delivery]| {
                    of.iter().map(|d| (number(&d.body), d.attempt, d.leased_until)).collect::<Vec<_>>()
                };
                prop_assert_eq!(said(&real), said(&model), "{:?}", op);
                let Op::Claim(Claim { queue, .. }) = op else {
                    return Err(TestCaseError::fail("not a claim"));
                };
                let queue = TASKS.into_iter().find(|name| *name == queue.as_str()).unwrap();
                self.handed.extend(real.iter().zip(&model).map(|(real, model)| (queue, real.id, model.id)));
            }
            (Ok(Outcome::Appended(real)), Ok(Outcome::Appended(model))) => {
                prop_assert_eq!(real, model, "{:?}", op);
            }
            (Ok(Outcome::Settled(real)), Ok(Outcome::Settled(model))) => {
                prop_assert_eq!(real, model, "{:?}", op);
            }
            (Ok(Outcome::Count(real)), Ok(Outcome::Count(model))) => prop_assert_eq!(real, model, "{:?}", op),
            (Ok(Outcome::Done), Ok(Outcome::Done)) => {}
            (Err(real), Err(model)) => {
                // What is gone and would be another client's is either.
                let gone = [ErrorKind::NotFound, ErrorKind::LeaseLost];
                let same =
                    real.kind() == model.kind() || [&real, &model].iter().all(|e| gone.contains(&e.kind()));
                prop_assert!(same, "{op:?}: {real} / {model}");
            }
            (real, model) => {
                return Err(TestCaseError::fail(format!("{op:?}: {real:?} instead of {model:?}")));
            }
        }
        Ok(())
    }

    /// What is counted in one row is there in so many others.
    async fn recount(&self) -> Result<(), TestCaseError> {
        let client = connect(&self.database.url()).await;
        for (what, ask) in WRONG {
            let wrong = client.query(*ask, &[]).await.unwrap();
            prop_assert!(wrong.is_empty(), "{what}: {wrong:?}");
        }
        Ok(())
    }

    async fn compare(&self) -> Result<(), TestCaseError> {
        let states = async |engine: &dyn Engine| {
            let states = engine.states().await.unwrap().into_iter();
            // A pause that waits for the end of a lease is counted as delayed by the reference.
            states.map(|s| (s.name, s.ready + s.delayed, s.in_flight, s.dead, s.paused)).collect::<Vec<_>>()
        };
        prop_assert_eq!(states(&self.real).await, states(&self.model).await, "the queues' states");
        for queue in ["t1", "t2", "s1"] {
            let peek = async |engine: &dyn Engine, clients: &Clients, max, max_bytes| {
                let found = engine.peek(&name(queue), clients, max, max_bytes).await.unwrap();
                found.iter().map(|(attempts, e)| (number(&e.body), *attempts)).collect::<Vec<_>>()
            };
            for (clients, max, max_bytes) in
                [(Clients::All, 1_000, usize::MAX), (only_of(1), 1_000, usize::MAX), (only_of(0), 3, 2)]
            {
                let real = peek(&self.real, &clients, max, max_bytes).await;
                let model = peek(&self.model, &clients, max, max_bytes).await;
                prop_assert_eq!(real, model, "what waits in {} for {:?}", queue, clients);
            }
        }
        let labels = |of: Vec<(u64, Position)>| of.into_iter().map(|(n, _)| n).collect::<Vec<_>>();
        prop_assert_eq!(labels(stream(&self.real).await), labels(stream(&self.model).await), "the stream");
        let plain = |of: Vec<DeadLetter>| {
            of.into_iter().map(|letter| DeadLetter { id: 0, ..letter }).collect::<Vec<_>>()
        };
        prop_assert_eq!(
            plain(letters(&self.real).await),
            plain(letters(&self.model).await),
            "the dead letters"
        );
        if let Some(n) = self.next.checked_sub(1) {
            self.compare_trace(n).await?;
            self.compare_trace(n / 2).await?;
        }
        Ok(())
    }

    async fn compare_trace(&self, n: u64) -> Result<(), TestCaseError> {
        let trace = Uuid::from_u128(0x9000_0000 + u128::from(n));
        let tell = async |engine: &dyn Engine| {
            let view = engine.trace(trace, &Clients::All).await.unwrap();
            let told = |step: &orderwire_types::step::Step| {
                // What is known of an entry that waits leaves that out.
                let detail = step.detail.clone().filter(|_| step.step != "accepted");
                format!("{:?}", orderwire_types::step::Step { detail, ..step.clone() })
            };
            let mut steps: Vec<_> = view.steps.iter().map(told).collect();
            steps.sort();
            (view.client, view.open, view.dead, steps)
        };
        let (real, model) = (tell(&self.real).await, tell(&self.model).await);
        prop_assert_eq!(&real.0, &model.0);
        prop_assert_eq!((real.1, real.2), (model.1, model.2));
        // An entry that was buried tells how it came: the reference leaves that out.
        let missing: Vec<_> = model.3.iter().filter(|step| !real.3.contains(step)).collect();
        prop_assert!(missing.is_empty(), "the trace of event {n} lacks {missing:#?} among {:#?}", real.3);
        Ok(())
    }
}

/// Rows that contradict others.
const WRONG: &[(&str, &str)] = &[
    (
        "queues count their deliveries",
        "SELECT q.* FROM queue.queue q, LATERAL (
            SELECT count(*) AS all, coalesce(sum(l.held), 0) AS held, count(*) FILTER (WHERE l.state = 2) AS delayed,
                coalesce(sum(l.count), 0) AS count
            FROM queue.lane l WHERE l.queue = q.id
         ) l WHERE q.in_flight <> l.held OR q.delayed <> l.delayed OR q.waiting + q.in_flight + q.delayed <> l.count
            OR l.count <> (SELECT count(*) FROM queue.delivery d WHERE d.queue = q.id)
            OR q.dead <> (SELECT count(*) FROM queue.dead d WHERE d.queue = q.id)",
    ),
    (
        "lanes count their deliveries",
        "SELECT l.* FROM queue.lane l, LATERAL (
            SELECT count(*) AS count, count(*) FILTER (WHERE d.position <= l.held_to) AS held, min(d.position) AS first
            FROM queue.delivery d WHERE d.queue = l.queue AND d.lane = l.lane
         ) d WHERE l.count <> d.count OR l.held <> CASE l.state WHEN 1 THEN d.held ELSE 0 END
            OR l.head > d.first OR (l.state <> 1 AND l.head <> d.first AND l.client <> '')",
    ),
    (
        "clients have turns while they have lanes",
        "SELECT * FROM queue.turn t FULL JOIN (
            SELECT l.queue, l.client, count(*) AS lanes, count(*) FILTER (WHERE l.state = 0) AS ready
            FROM queue.lane l WHERE l.client <> '' GROUP BY l.queue, l.client
         ) l ON l.queue = t.queue AND l.client = t.client
         WHERE (t.lanes, t.ready) IS DISTINCT FROM (l.lanes, l.ready)",
    ),
    (
        "events count their deliveries",
        "SELECT * FROM queue.event e FULL JOIN (
            SELECT d.position, count(*) AS refs FROM queue.delivery d GROUP BY d.position
         ) d ON d.position = e.position WHERE e.refs IS DISTINCT FROM d.refs",
    ),
];

fn only_of(client: u8) -> Clients {
    Clients::Only([client.to_string().parse().unwrap()].into())
}

async fn letters(engine: &dyn Engine) -> Vec<DeadLetter> {
    engine.dead(&Clients::All, &DeadFilter::default(), 0, 1_000, usize::MAX).await.unwrap().items
}

async fn stream(engine: &dyn Engine) -> Vec<(u64, Position)> {
    let entries = engine.read(&name("s1"), Position(0), 1_000, usize::MAX).await.unwrap();
    entries.iter().map(|entry| (number(&entry.body), entry.position)).collect()
}

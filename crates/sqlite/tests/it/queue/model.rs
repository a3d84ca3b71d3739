//! The engine against a model that is too simple to be wrong: random operations
//! must have the same outcomes, and the counters must equal a recount.

mod reference;

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use orderwire_queue::engine::{Append, Claim, Edit, Engine, LaneKey, NewEntry, Op, Outcome, Settle};
use orderwire_queue::model::{DeadFilter, DeadLetter, Delivery, DeliveryId, Position, Settlement};
use orderwire_queue::{Error, ErrorKind};
use orderwire_types::scope::Clients;
use proptest::prelude::*;

use super::support::{Bench, at, claim, entry, key, name, named, number};
use reference::{End, Reference};

const TASKS: [&str; 2] = ["t1", "t2"];

/// What may happen. Numbers choose among what there is at that moment.
#[derive(Clone, Debug)]
enum Step {
    Append {
        client: u8,
        key: Option<u8>,
        queues: u8,
        named: bool,
    },
    /// An event that was named comes again.
    Repeat {
        pick: usize,
    },
    /// A commit with an event that was named and one that was not fails, and is undone.
    Fail {
        pick: usize,
    },
    /// A look at the trace of an event.
    Trace {
        pick: usize,
    },
    Claim {
        queue: usize,
        only: Option<u8>,
        max: usize,
        lease: i64,
    },
    GoOn {
        pick: usize,
        max: usize,
        lease: i64,
    },
    Settle {
        pick: usize,
        end: End,
    },
    Extend {
        pick: usize,
        lease: i64,
    },
    Expire {
        limit: usize,
    },
    Wait {
        seconds: i64,
    },
    Replay {
        pick: usize,
    },
    /// Other content of a dead letter, which stays the letter that it is.
    Edit {
        pick: usize,
    },
    Stream,
    Advance {
        pick: usize,
    },
    Bury {
        pick: usize,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        4 => Just(End::Ack),
        3 => (0..4i64).prop_map(End::Retry),
        1 => Just(End::Fail),
        1 => Just(End::Release),
    ];
    prop_oneof![
        8 => (0..3u8, proptest::option::weighted(0.8, 0..2u8), 1..4u8, any::<bool>())
            .prop_map(|(client, key, queues, named)| Step::Append { client, key, queues, named }),
        2 => any::<usize>().prop_map(|pick| Step::Repeat { pick }),
        1 => any::<usize>().prop_map(|pick| Step::Fail { pick }),
        2 => any::<usize>().prop_map(|pick| Step::Trace { pick }),
        8 => (0..2usize, proptest::option::weighted(0.2, 0..3u8), 1..7usize, 1..9i64)
            .prop_map(|(queue, only, max, lease)| Step::Claim { queue, only, max, lease }),
        5 => (any::<usize>(), 1..4usize, 1..9i64)
            .prop_map(|(pick, max, lease)| Step::GoOn { pick, max, lease }),
        12 => (any::<usize>(), end).prop_map(|(pick, end)| Step::Settle { pick, end }),
        1 => (any::<usize>(), 1..9i64).prop_map(|(pick, lease)| Step::Extend { pick, lease }),
        3 => (1..4usize).prop_map(|limit| Step::Expire { limit }),
        3 => (1..5i64).prop_map(|seconds| Step::Wait { seconds }),
        1 => any::<usize>().prop_map(|pick| Step::Replay { pick }),
        1 => any::<usize>().prop_map(|pick| Step::Edit { pick }),
        2 => Just(Step::Stream),
        1 => any::<usize>().prop_map(|pick| Step::Advance { pick }),
        1 => any::<usize>().prop_map(|pick| Step::Bury { pick }),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn random_operations_have_the_outcomes_of_the_model(steps in proptest::collection::vec(step(), 1..90)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new(Bench::new().await);
            for step in steps {
                run = run.step(step).await?;
                run.compare().await?;
            }
            Ok::<_, TestCaseError>(())
        })?;
    }
}

struct Run {
    bench: Bench,
    model: Reference,
    /// Every delivery that was ever handed out, also those that are settled.
    handed: Vec<(&'static str, Delivery)>,
    /// Events of task queues, and whether each was named.
    appended: Vec<(u64, bool)>,
    next: u64,
    now: i64,
}

impl Run {
    fn new(bench: Bench) -> Self {
        Self {
            bench,
            model: Reference::new(&TASKS),
            handed: Vec::new(),
            appended: Vec::new(),
            next: 0,
            now: 0,
        }
    }

    async fn step(mut self, step: Step) -> Result<Self, TestCaseError> {
        match step {
            Step::Append { client, key, queues, named } => self.append(client, key, queues, named).await?,
            Step::Repeat { pick } => {
                if let Some(entry) = self.pick_named(pick) {
                    prop_assert_eq!(self.bench.append(vec![entry], self.time()).await, [false]);
                }
            }
            Step::Fail { pick } => {
                let new = named(entry(self.next, "0", &[(TASKS[0], LaneKey::Alone)]));
                let entries = self.pick_named(pick).into_iter().chain([new]).collect();
                self.bench.fail(vec![Op::Append(Append { entries, request: None })], self.time()).await;
            }
            Step::Trace { pick } => {
                if let Some((n, _)) = self.appended.get(pick % self.appended.len().max(1)) {
                    let trace = entry(*n, "0", &[]).trace;
                    let view = self.bench.queue.trace(trace, &Clients::All).await.unwrap();
                    let accepted = view.steps.iter().filter(|step| step.step == "accepted").count();
                    prop_assert_eq!(accepted, 1, "of event {}", n);
                }
            }
            Step::Claim { queue, only, max, lease } => self.claim(queue, only, max, lease).await?,
            Step::GoOn { pick, max, lease } => self.go_on(pick, max, lease).await?,
            Step::Settle { pick, end } => self.settle(pick, end).await?,
            Step::Extend { pick, lease } => self.extend(pick, lease).await?,
            Step::Expire { limit } => {
                let count = self.bench.count(Op::Expire { limit }, self.time()).await;
                let expected = self.model.due(self.now).min(limit);
                prop_assert_eq!(count, u64::try_from(expected).unwrap());
                // Which of those of one moment come first is nobody's business:
                // go on to the end before comparing.
                self.bench.count(Op::Expire { limit: 1_000 }, self.time()).await;
                self.model.expire(self.now);
            }
            Step::Wait { seconds } => self.now += seconds,
            Step::Replay { pick } => self.replay(pick).await?,
            Step::Edit { pick } => self.edit(pick).await?,
            Step::Stream => {
                let entry = entry(self.next, "a", &[("s1", LaneKey::Stream), ("s2", LaneKey::Stream)]);
                self.bench.append(vec![entry], self.time()).await;
                self.model.stream.push(self.next);
                self.next += 1;
            }
            Step::Advance { pick } => self.advance(pick).await,
            Step::Bury { pick } => self.bury(pick).await,
            Step::Reopen => self.bench = self.bench.reopen(),
        }
        Ok(self)
    }

    fn time(&self) -> Timestamp {
        at(self.now)
    }

    /// One of the events that were named, to come again.
    fn pick_named(&self, pick: usize) -> Option<NewEntry> {
        let known: Vec<u64> = self.appended.iter().filter(|(_, named)| *named).map(|(n, _)| *n).collect();
        let n = known.get(pick % known.len().max(1))?;
        Some(named(entry(*n, "0", &[(TASKS[0], LaneKey::Alone)])))
    }

    async fn append(
        &mut self,
        client: u8,
        lane: Option<u8>,
        queues: u8,
        is_named: bool,
    ) -> Result<(), TestCaseError> {
        let lane_key = lane.map_or(LaneKey::Alone, |lane| key(&lane.to_string()));
        let chosen: Vec<_> = TASKS.iter().enumerate().filter(|(i, _)| queues & (1 << i) != 0).collect();
        let routes: Vec<_> = chosen.iter().map(|(_, queue)| (**queue, lane_key.clone())).collect();
        let entry = entry(self.next, &client.to_string(), &routes);
        let entry = if is_named { named(entry) } else { entry };
        prop_assert_eq!(self.bench.append(vec![entry], self.time()).await, [true]);
        for (queue, _) in chosen {
            self.model.queues[queue].append(self.next, client, lane);
        }
        self.appended.push((self.next, is_named));
        self.next += 1;
        Ok(())
    }

    async fn claim(
        &mut self,
        queue: usize,
        only: Option<u8>,
        max: usize,
        lease: i64,
    ) -> Result<(), TestCaseError> {
        let clients = match only {
            None => Clients::All,
            Some(client) => Clients::Only([client.to_string().parse().unwrap()].into()),
        };
        let until = self.now + lease;
        let op = Op::Claim(claim(TASKS[queue], clients, max, at(until)));
        let Outcome::Claimed(deliveries) = self.bench.one(op, self.time()).await.unwrap() else {
            return Err(TestCaseError::fail("not a claim's outcome"));
        };
        let got: Vec<_> = deliveries.iter().map(|d| (number(&d.body), d.attempt)).collect();
        prop_assert_eq!(got, self.model.queues[queue].claim(only, max, until));
        self.handed.extend(deliveries.into_iter().map(|delivery| (TASKS[queue], delivery)));
        Ok(())
    }

    /// First what is ready, then what follows one that was handed out.
    async fn go_on(&mut self, pick: usize, max: usize, lease: i64) -> Result<(), TestCaseError> {
        let Some((queue, delivery, n, _)) = self.pick(pick) else { return Ok(()) };
        let until = self.now + lease;
        let claim = Claim { behind: vec![delivery], ..claim(queue, Clients::All, max, at(until)) };
        let Outcome::Claimed(deliveries) = self.bench.one(Op::Claim(claim), self.time()).await.unwrap()
        else {
            return Err(TestCaseError::fail("not a claim's outcome"));
        };
        let got: Vec<_> = deliveries.iter().map(|d| (number(&d.body), d.attempt)).collect();
        let good = self.lease_is_the_latest(queue, delivery, n);
        let index = TASKS.iter().position(|name| *name == queue).unwrap();
        let model = &mut self.model.queues[index];
        let mut expected = model.claim(None, max, until);
        // What was claimed by now is under another lease.
        if good && !expected.iter().any(|(other, _)| *other == n) {
            expected.extend(model.go_on(n, max - expected.len(), until, self.now));
        }
        prop_assert_eq!(got, expected);
        self.handed.extend(deliveries.into_iter().map(|delivery| (queue, delivery)));
        Ok(())
    }

    fn pick(&self, pick: usize) -> Option<(&'static str, DeliveryId, u64, u32)> {
        // Mostly the latest, sometimes one that is long over.
        let back = (pick % 8).min(self.handed.len().checked_sub(1)?);
        let (queue, delivery) = &self.handed[self.handed.len() - 1 - back];
        Some((queue, delivery.id, number(&delivery.body), delivery.attempt))
    }

    async fn settle(&mut self, pick: usize, end: End) -> Result<(), TestCaseError> {
        let Some((queue, delivery, n, _)) = self.pick(pick) else { return Ok(()) };
        let cause = "a cause".to_owned();
        let settlement = match end {
            End::Ack => Settlement::Ack,
            End::Retry(delay) => {
                Settlement::Retry { delay: Some(Duration::from_secs(delay.unsigned_abs())), cause }
            }
            End::Fail => Settlement::Fail { cause },
            End::Release => Settlement::Release,
        };
        let settle = Settle { queue: name(queue), delivery, clients: Clients::All, settlement };
        let got = self.bench.one(Op::Settle(settle), self.time()).await;
        let index = TASKS.iter().position(|name| *name == queue).unwrap();
        let lease = self.lease_is_the_latest(queue, delivery, n);
        let expected = lease.then(|| self.model.queues[index].settle(n, end, self.now)).flatten();
        match (got, expected) {
            (Ok(Outcome::Settled(got)), Some(expected)) => prop_assert_eq!(got, expected),
            (Err(error), None) => prop_assert_eq!(error.kind(), ErrorKind::LeaseLost),
            (got, expected) => {
                return Err(TestCaseError::fail(format!("{got:?} where {expected:?} was expected")));
            }
        }
        Ok(())
    }

    /// The model knows no lease numbers: a lease is good as long as the event
    /// was not handed out again.
    fn lease_is_the_latest(&self, queue: &str, delivery: DeliveryId, n: u64) -> bool {
        let same = |other: &&(&str, Delivery)| other.0 == queue && number(&other.1.body) == n;
        self.handed.iter().rfind(same).is_some_and(|(_, latest)| latest.id == delivery)
    }

    async fn extend(&mut self, pick: usize, lease: i64) -> Result<(), TestCaseError> {
        let Some((queue, delivery, n, _)) = self.pick(pick) else { return Ok(()) };
        let until = self.now + lease;
        let op = Op::Extend { queue: name(queue), delivery, clients: Clients::All, until: at(until) };
        let got = self.bench.one(op, self.time()).await;
        let index = TASKS.iter().position(|name| *name == queue).unwrap();
        let good = self.lease_is_the_latest(queue, delivery, n);
        let extended = good && self.model.queues[index].extend(n, until, self.now);
        prop_assert_eq!(got.map(drop).map_err(|error: Error| error.kind()).is_ok(), extended);
        Ok(())
    }

    async fn letters(&self) -> Vec<DeadLetter> {
        let all = DeadFilter::default();
        self.bench.queue.dead(&Clients::All, &all, 0, 1_000, usize::MAX).await.unwrap().items
    }

    async fn edit(&mut self, pick: usize) -> Result<(), TestCaseError> {
        let letters = self.letters().await;
        let Some(letter) = letters.get(pick % letters.len().max(1)) else { return Ok(()) };
        // The same number, so that the model need not know.
        let body = Bytes::from([b"0", letter.body.as_ref()].concat());
        let edit = Edit {
            id: letter.id,
            clients: Clients::All,
            seen: letter.body.clone(),
            body: body.clone(),
            principal: "tester".to_owned(),
            reason: None,
        };
        self.bench.one(Op::Edit(edit.clone()), self.time()).await.unwrap();
        let again = self.bench.one(Op::Edit(edit), self.time()).await;
        prop_assert_eq!(again.map_err(|error| error.kind()).err(), Some(ErrorKind::Conflict));
        let mut expected = letters.clone();
        expected[pick % letters.len()].body = body;
        prop_assert_eq!(self.letters().await, expected);
        Ok(())
    }

    async fn replay(&mut self, pick: usize) -> Result<(), TestCaseError> {
        let letters = self.letters().await;
        let Some(letter) = letters.get(pick % letters.len().max(1)) else { return Ok(()) };
        let op = Op::Replay { ids: vec![letter.id], principal: "tester".to_owned() };
        prop_assert_eq!(self.bench.count(op, self.time()).await, 1);
        let n = number(&letter.body);
        match TASKS.iter().position(|name| *name == letter.queue.as_str()) {
            Some(index) => self.model.queues[index].replay(n, letter.attempts),
            None => {
                self.model.stream.push(n);
                self.model.buried -= 1;
            }
        }
        Ok(())
    }

    async fn stream(&self) -> Vec<(u64, Position)> {
        let entries = self.bench.queue.read(&name("s1"), Position(0), 1_000, usize::MAX).await.unwrap();
        entries.iter().map(|entry| (number(&entry.body), entry.position)).collect()
    }

    async fn advance(&mut self, pick: usize) {
        let entries = self.stream().await;
        if !entries.is_empty() {
            let done = pick % entries.len();
            let op = Op::Advance { queue: name("s1"), to: entries[done].1 };
            self.bench.one(op, self.time()).await.unwrap();
            self.model.stream.drain(..=done);
        }
    }

    async fn bury(&mut self, pick: usize) {
        let entries = self.stream().await;
        if !entries.is_empty() {
            let gone = pick % entries.len();
            let (queue, position, cause) = (name("s1"), entries[gone].1, "bad".to_owned());
            self.bench.one(Op::Bury { queue, position, attempts: 2, cause }, self.time()).await.unwrap();
            self.model.stream.remove(gone);
            self.model.buried += 1;
        }
    }

    async fn compare(&self) -> Result<(), TestCaseError> {
        for (queue, model) in TASKS.iter().zip(&self.model.queues) {
            prop_assert_eq!(self.bench.counts(queue).await, model.counts(), "counters of {}", queue);
            let peeked = self.bench.queue.peek(&name(queue), &Clients::All, 1_000, usize::MAX).await.unwrap();
            let mut waiting: Vec<_> =
                peeked.iter().map(|(attempts, e)| (number(&e.body), *attempts)).collect();
            waiting.sort_unstable();
            prop_assert_eq!(waiting, model.unsettled());
            let mut merged = Vec::new();
            for client in 0..3u8 {
                let only = Clients::Only([client.to_string().parse().unwrap()].into());
                merged.extend(self.bench.queue.peek(&name(queue), &only, 1_000, usize::MAX).await.unwrap());
            }
            merged.sort_by_key(|(_, entry)| entry.position);
            let positions = |list: &[(u32, orderwire_queue::model::Entry)]| {
                list.iter().map(|(_, entry)| entry.position).collect::<Vec<_>>()
            };
            prop_assert_eq!(positions(&merged), positions(&peeked), "both ways to peek");
        }
        let stream: Vec<_> = self.stream().await.into_iter().map(|(n, _)| n).collect();
        prop_assert_eq!(&stream, &self.model.stream);
        prop_assert_eq!(self.bench.counts("s1").await.0, u64::try_from(stream.len()).unwrap());
        prop_assert_eq!(self.bench.counts("s1").await.3, self.model.buried);
        let committed = self.bench.commit(Vec::new(), self.time()).await;
        prop_assert_eq!(committed.next_expiry, self.model.next_expiry().map(at));
        Ok(())
    }
}

//! How the stream and the consumers of queues come to be, and how what they take changes.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use orderwire_broker::{Declare, Error, ErrorKind, QueueBinding};
use orderwire_types::{Pattern, QueueName};
use serde_json::Map;
use tokio::sync::Mutex;

use crate::api::{self, Consumer, ConsumerConfig, Failure, StreamConfig};
use crate::bindings::Bindings;
use crate::durable::{Queue, usable};
use crate::filter;
use crate::link::Link;
use crate::memory::Memory;
use crate::options::Options;
use crate::subject::{ADOPTER, Names, consumer, named_consumer, queue_of};

/// By what is said of it we know the stream that we made.
const STREAM_IS: &str =
    "Messages on their way, each until every queue that takes it has acked it. Made by Orderwire.";

/// The stream and its consumers.
#[derive(Debug)]
pub(crate) struct Topology {
    pub(crate) link: Arc<Link>,
    pub(crate) names: Names,
    pub(crate) memory: Memory,
    pub(crate) options: Options,
    /// Changes of one process go one after the other.
    pub(crate) one_at_a_time: Mutex<()>,
}

/// A consumer that belongs to a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) stream: String,
    pub(crate) consumer: String,
    /// What it takes of types; none: what the queue takes.
    pub(crate) bindings: Option<Bindings>,
    /// After how long what is not acked comes again.
    pub(crate) ack_wait: Duration,
    /// Up to where messages may have been handed out before this consumer was made.
    pub(crate) handed_out: u64,
}

impl Topology {
    pub(crate) fn new(link: Arc<Link>, options: Options) -> Self {
        let (names, memory) = (Names::new(&options), Memory::default());
        Self { link, names, memory, options, one_at_a_time: Mutex::new(()) }
    }

    /// Makes the stream exist as the settings say.
    ///
    /// # Errors
    /// `Conflict`: it is there with arguments with which no promise could be kept.
    /// `Unsupported`: the server cannot have it so.
    pub(crate) async fn make_stream(&self) -> Result<(), Error> {
        let wanted = self.wanted_stream();
        let doing = format!("stream {}", wanted.name);
        let error = |failure: Failure| failure.error(&doing, ErrorKind::Unsupported);
        let mut there = api::stream(&self.link, &wanted.name).await.map_err(error)?;
        if there.is_none() {
            match api::create_stream(&self.link, &wanted).await {
                Ok(_) => {
                    tracing::info!(stream = wanted.name, "made the stream");
                    self.memory.begin_anew();
                    return Ok(());
                }
                // Somebody else made it just now.
                Err(failure) if failure.is_name_in_use() => {
                    there = api::stream(&self.link, &wanted.name).await.map_err(error)?;
                }
                Err(failure) => return Err(error(failure)),
            }
        }
        let Some(there) = there else {
            return Err(Error::new(ErrorKind::Unavailable, format!("{doing}: it was removed just now")));
        };
        let is = &there.config;
        self.compare_stream(is, &wanted)?;
        let changed = StreamConfig {
            max_bytes: wanted.max_bytes,
            num_replicas: wanted.num_replicas,
            duplicate_window: wanted.duplicate_window,
            ..is.clone()
        };
        // One that an operator made has the limits that the operator gave it.
        if is.description == STREAM_IS && changed != *is {
            // A server before 2.10 would say yes.
            if changed.num_replicas > 1 && there.cluster.is_none() {
                let what = format!("{doing}: {} replicas need a cluster of servers", changed.num_replicas);
                return Err(Error::new(ErrorKind::Unsupported, what));
            }
            api::update_stream(&self.link, &changed).await.map_err(error)?;
            tracing::info!(stream = wanted.name, "changed the limits of the stream");
        }
        Ok(())
    }

    fn wanted_stream(&self) -> StreamConfig {
        StreamConfig {
            name: self.names.stream.clone(),
            description: STREAM_IS.to_owned(),
            subjects: self.names.subjects(),
            // What every queue has acked is purged by `sweep`.
            retention: "limits".to_owned(),
            discard: "new".to_owned(),
            storage: "file".to_owned(),
            max_bytes: i64::try_from(self.options.stream_bytes_max).unwrap_or(i64::MAX),
            num_replicas: self.options.replicas,
            duplicate_window: nanos(self.options.remember),
            others: Map::new(),
        }
    }

    /// Fails if a stream that is there keeps no promise.
    fn compare_stream(&self, is: &StreamConfig, wanted: &StreamConfig) -> Result<(), Error> {
        let conflict = |what: String| {
            let what = format!("stream {}: it exists {what}, or name another stream", wanted.name);
            Err(Error::new(ErrorKind::Conflict, what))
        };
        for (what, is, wanted) in [
            ("retention", &is.retention, &wanted.retention),
            ("discard", &is.discard, &wanted.discard),
            ("storage", &is.storage, &wanted.storage),
        ] {
            if is != wanted {
                return conflict(format!("with {what} {is}, not {wanted}: remove it"));
            }
        }
        match wanted.subjects.iter().find(|subject| !filter::covered(subject, &is.subjects)) {
            Some(missing) => conflict(format!("without the subject {missing}: add it")),
            None => Ok(()),
        }
    }

    /// Makes the consumers of a queue exist, with filters that let through what it is bound
    /// to.
    pub(crate) async fn declare(&self, queue: &QueueBinding) -> Result<(), Error> {
        let _one_at_a_time = self.one_at_a_time.lock().await;
        let mut found = self.find(&queue.name, "declare").await?;
        let is_new = found.main.is_none() && found.named.is_none();
        // One filter is enough for a queue that gets only what is sent to it by name.
        found.is_apart &= !(is_new && queue.types.is_empty());
        if found.is_apart {
            let described = Bindings::default().description().expect("it is short");
            let (name, filters) = (named_consumer(&queue.name), vec![self.names.by_name(&queue.name)]);
            let named = found.named.take();
            self.ensure(&found, queue.declare, &name, named, described, filters).await?;
        }
        match found.main.as_ref().map(said_by) {
            Some(None) => self.declare_foreign(&found, queue).await?,
            ours => {
                let mut bindings = ours.flatten().unwrap_or_default();
                let begins = match &found.main {
                    Some(_) => found.last,
                    None => self.memory.start(&consumer(&queue.name), found.last),
                };
                bindings.bind(&queue.types, begins);
                let mut gone = self.memory.types(&queue.name);
                gone.retain(|pattern| !queue.types.contains(pattern));
                bindings.unbind(&gone, found.last);
                self.bind(&found, bindings).await?;
            }
        }
        if queue.declare == Declare::Adopt
            && let Some(stream) = self.adopted(&queue.name).await?
        {
            self.ensure_adopter(&found, &stream).await?;
        }
        self.memory.declared(&queue.name, &queue.types);
        Ok(())
    }

    /// Takes types away from a queue, which keeps what came until now.
    pub(crate) async fn unbind(&self, queue: &QueueName, types: &[Pattern]) -> Result<(), Error> {
        let _one_at_a_time = self.one_at_a_time.lock().await;
        let found = self.find(queue, "unbind").await?;
        match found.main.as_ref().map(said_by) {
            Some(Some(mut bindings)) => {
                bindings.unbind(types, found.last);
                self.bind(&found, bindings).await?;
            }
            Some(None) => self.unbind_foreign(&found, types).await?,
            None => {}
        }
        self.memory.unbound(queue, types);
        Ok(())
    }

    /// Narrows the filters of a consumer once nothing is left of what came while it was bound
    /// to more. Until then they hold what comes for nobody, too.
    pub(crate) async fn narrow(&self, there: &Consumer) -> Result<(), Error> {
        let Some(bindings) = said_by(there) else { return Ok(()) };
        let done = there.done();
        let mut last = done;
        for (types, places) in bindings.ended() {
            last = last.max(*places.end());
            if self.has_left(types, (done + 1).max(*places.start())..=*places.end()).await? {
                return Ok(());
            }
        }
        let _one_at_a_time = self.one_at_a_time.lock().await;
        let Some(queue) = queue_of(&there.config.durable_name) else { return Ok(()) };
        let found = self.find(&queue, "unbind").await?;
        // As it was looked at, and not as somebody made it meanwhile.
        let is_same =
            found.main.as_ref().is_some_and(|main| main.config.description == there.config.description);
        if is_same { self.bind_done(&found, bindings, last).await } else { Ok(()) }
    }

    /// Whether a message of these types is at one of these places.
    async fn has_left(&self, types: &Pattern, places: RangeInclusive<u64>) -> Result<bool, Error> {
        /// More that only a filter wider than the pattern lets through are not looked at.
        const LOOKS_MAX: usize = 1_000;
        for filter in filter::filters([types]) {
            let filter = self.names.by_type(&filter);
            let mut from = *places.start();
            for look in 0.. {
                let next = api::next_message(&self.link, &self.names.stream, from, &filter).await;
                let next = next.map_err(|failure| failure.error("look for messages", ErrorKind::Refused))?;
                let Some(next) = next.filter(|next| next.place <= *places.end()) else { break };
                let event_type = self.names.event_type(&next.subject).map(str::parse);
                let is_taken = event_type.is_some_and(|t| t.is_ok_and(|t| types.matches(&t)));
                if is_taken || look == LOOKS_MAX {
                    return Ok(true);
                }
                from = next.place + 1;
            }
        }
        Ok(false)
    }

    /// Where the messages of a declared queue are.
    ///
    /// # Errors
    /// `Conflict`: it is not declared.
    pub(crate) async fn places(&self, queue: &QueueBinding) -> Result<Vec<Place>, Error> {
        let (link, names) = (&self.link, &self.names);
        let mut candidates = vec![
            (names.stream.clone(), consumer(&queue.name), !queue.types.is_empty()),
            (names.stream.clone(), named_consumer(&queue.name), false),
        ];
        if queue.declare == Declare::Adopt
            && let Some(stream) = self.adopted(&queue.name).await?
        {
            candidates.push((stream, ADOPTER.to_owned(), true));
        }
        let doing = format!("consume queue {}", queue.name);
        let conflict = |what: String| Err(Error::new(ErrorKind::Conflict, format!("{doing}: {what}")));
        let mut places = Vec::new();
        for (stream, consumer, required) in candidates {
            let there = api::consumer(link, &stream, &consumer).await;
            let there = there.map_err(|failure| failure.error(&doing, ErrorKind::Refused))?;
            match there {
                Some(there) => {
                    usable(&queue.name, &there)?;
                    let ack_wait = Duration::from_nanos(there.config.ack_wait);
                    let bindings = said_by(&there).or_else(|| {
                        let is_ours = stream == names.stream;
                        is_ours.then(|| self.memory.adopted(&queue.name)).flatten()
                    });
                    let handed_out = self.memory.handed_out(&consumer);
                    places.push(Place { stream, consumer, bindings, ack_wait, handed_out });
                }
                // One that was just removed to become another is back soon.
                None if required => {
                    let consumer = if consumer == ADOPTER { &stream } else { &consumer };
                    return conflict(format!("there is no consumer {consumer}"));
                }
                None => {}
            }
        }
        if places.is_empty() { conflict("it is not declared".to_owned()) } else { Ok(places) }
    }

    /// The stream that others made under the name of a queue.
    async fn adopted(&self, queue: &QueueName) -> Result<Option<String>, Error> {
        let name = queue.as_str();
        if name.contains('.') {
            return Ok(None);
        }
        for name in [name.to_owned(), name.to_ascii_uppercase()] {
            if name == self.names.stream {
                continue;
            }
            let there = api::stream(&self.link, &name).await;
            let doing = format!("adopt queue {queue}");
            if there.map_err(|failure| failure.error(&doing, ErrorKind::Refused))?.is_some() {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Gives a consumer of ours these bindings.
    async fn bind(&self, queue: &Queue<'_>, bindings: Bindings) -> Result<(), Error> {
        let done = queue.main.as_ref().map_or(0, Consumer::done);
        self.bind_done(queue, bindings, done).await
    }

    /// The same, where it is known up to where it needs nothing any more.
    async fn bind_done(&self, queue: &Queue<'_>, mut bindings: Bindings, done: u64) -> Result<(), Error> {
        bindings.forget(done);
        let filters = filter::filters(bindings.types());
        let mut filters: Vec<String> = filters.iter().map(|types| self.names.by_type(types)).collect();
        if !queue.is_apart {
            filters.push(self.names.by_name(queue.name));
        }
        let name = consumer(queue.name);
        match (&queue.main, self.fitting(filters)) {
            // It takes no types any more, and nothing by name.
            (Some(_), filters) if filters.is_empty() => self.remove(queue, &name).await,
            (None, filters) if filters.is_empty() => Ok(()),
            (main, filters) => {
                let Some(described) = bindings.description() else {
                    let what = format!(
                        "{}: its types are too many for the server to hold; use wider patterns",
                        queue.doing()
                    );
                    return Err(Error::new(ErrorKind::Unsupported, what));
                };
                self.ensure(queue, Declare::Quorum, &name, main.clone(), described, filters).await
            }
        }
    }

    /// As many filters as the server knows for one consumer.
    fn fitting(&self, filters: Vec<String>) -> Vec<String> {
        if self.link.has_filters() {
            filter::apart(filters)
        } else {
            filter::single(filters).into_iter().collect()
        }
    }

    /// A consumer that others made under the name is adopted with what it lacks, or has to
    /// be as we would have made it.
    async fn declare_foreign(&self, found: &Queue<'_>, queue: &QueueBinding) -> Result<(), Error> {
        let Some(there) = found.main.clone() else { return Ok(()) };
        let mut bindings = self.memory.adopted(&queue.name).unwrap_or_default();
        for types in &queue.types {
            let mut filters = filter::filters([types]).into_iter().map(|types| self.names.by_type(&types));
            // What it lets through anyway it takes from its beginning on.
            let is_old = filters.all(|filter| filter::covered(&filter, &there.config.filters()));
            bindings.bind(std::slice::from_ref(types), if is_old { 0 } else { found.last });
        }
        let filters = filter::filters(&queue.types);
        let mut filters: Vec<String> = filters.iter().map(|types| self.names.by_type(types)).collect();
        if !found.is_apart {
            filters.push(self.names.by_name(&queue.name));
        }
        if queue.declare == Declare::Adopt {
            filters.extend(there.config.filters());
        }
        let (name, described) = (consumer(&queue.name), there.config.description.clone());
        self.ensure(found, queue.declare, &name, Some(there), described, self.fitting(filters)).await?;
        self.memory.adopt(&queue.name, bindings);
        Ok(())
    }

    /// What others made keeps what it would not have otherwise, and something at least.
    async fn unbind_foreign(&self, queue: &Queue<'_>, types: &[Pattern]) -> Result<(), Error> {
        let Some(there) = &queue.main else { return Ok(()) };
        if let Some(mut bindings) = self.memory.adopted(queue.name) {
            bindings.unbind(types, queue.last);
            self.memory.adopt(queue.name, bindings);
        }
        let gone: Vec<String> =
            filter::filters(types).iter().map(|types| self.names.by_type(types)).collect();
        let mut changed = there.config.clone();
        let mut filters = changed.filters();
        filters.retain(|filter| !gone.contains(filter));
        if !self.link.has_filters() || filters.is_empty() || filters.len() == changed.filters().len() {
            return Ok(());
        }
        changed.set_filters(filters);
        self.set(queue, &changed).await.map(drop)
    }

    async fn ensure_adopter(&self, queue: &Queue<'_>, stream: &str) -> Result<(), Error> {
        let there = api::consumer(&self.link, stream, ADOPTER).await;
        if let Some(there) = there.map_err(|failure| queue.error(failure))? {
            return usable(queue.name, &there);
        }
        let description = "Read by Orderwire.".to_owned();
        let config = ConsumerConfig {
            deliver_policy: "all".to_owned(),
            opt_start_seq: None,
            ..self.config(ADOPTER, description, vec![String::new()], 0)
        };
        let set = api::set_consumer(&self.link, stream, &config).await;
        set.map(drop).map_err(|failure| queue.error(failure))
    }
}

/// Whether a stream is one that we made.
pub(crate) fn is_our_stream(stream: &api::Stream) -> bool {
    stream.config.description == STREAM_IS
}

/// What a consumer takes that we made.
pub(crate) fn said_by(consumer: &Consumer) -> Option<Bindings> {
    Bindings::said_by(&consumer.config.description)
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

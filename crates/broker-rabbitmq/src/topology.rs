//! Queues, bindings and the exchange, and how they come back with a connection; with what the
//! server has told of itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};
use orderwire_broker::{Declare, Error, ErrorKind, QueueBinding};
use orderwire_types::{Pattern, QueueName};

use crate::error;
use crate::largest::Largest;
use crate::options::Options;

/// Everything that was declared, so that a server which lost it gets it again.
pub(crate) struct Topology {
    exchange: String,
    declared: Mutex<BTreeMap<QueueName, QueueBinding>>,
    pub(crate) largest: Arc<Largest>,
}

impl Topology {
    pub(crate) fn new(options: &Options) -> Arc<Self> {
        let largest = Arc::new(Largest::new(options.body_bytes_max));
        Arc::new(Self { exchange: options.exchange.clone(), declared: Mutex::default(), largest })
    }

    /// Declares a queue, and remembers it.
    ///
    /// # Errors
    /// `Conflict`, `Refused`, `Unavailable`.
    pub(crate) async fn declare(&self, connection: &Connection, queue: &QueueBinding) -> Result<(), Error> {
        let before = self.declared().get(&queue.name).map(|before| before.types.clone());
        self.make(connection, queue, before.as_deref().unwrap_or_default()).await?;
        self.declared().insert(queue.name.clone(), queue.clone());
        Ok(())
    }

    /// Takes bindings away, and remembers that.
    ///
    /// # Errors
    /// `Refused`, `Unavailable`.
    pub(crate) async fn unbind(
        &self,
        connection: &Connection,
        queue: &QueueName,
        types: &[Pattern],
    ) -> Result<(), Error> {
        for pattern in types {
            // Each by a channel of its own: a queue that is not there ends it.
            let channel = channel(connection).await?;
            self.take_away(&channel, queue, pattern).await?;
            close(&channel).await;
        }
        if let Some(declared) = self.declared().get_mut(queue) {
            declared.types.retain(|pattern| !types.contains(pattern));
        }
        Ok(())
    }

    /// Declares the exchange, and all queues that were declared before. One that cannot
    /// be is told and left: the others have to work.
    ///
    /// # Errors
    /// What concerns all of them.
    pub(crate) async fn restore(&self, connection: &Connection) -> Result<(), Error> {
        self.make_exchange(&channel(connection).await?).await?;
        let declared: Vec<QueueBinding> = self.declared().values().cloned().collect();
        for queue in declared {
            match self.make(connection, &queue, &[]).await {
                Ok(()) => {}
                Err(why) if why.is_retryable() => return Err(why),
                Err(why) => tracing::warn!(queue = %queue.name, %why, "a queue could not be declared again"),
            }
        }
        Ok(())
    }

    /// Makes a queue as it should be; `before` are the types that it was bound to by us.
    async fn make(
        &self,
        connection: &Connection,
        queue: &QueueBinding,
        before: &[Pattern],
    ) -> Result<(), Error> {
        let channel = match queue.declare {
            Declare::Adopt => adopt(connection, &queue.name).await?,
            Declare::Classic => create(connection, &queue.name, FieldTable::default()).await?,
            Declare::Quorum => {
                let mut arguments = FieldTable::default();
                arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
                create(connection, &queue.name, arguments).await?
            }
        };
        self.make_exchange(&channel).await?;
        let name = || ShortString::from(queue.name.as_str());
        let exchange = || ShortString::from(self.exchange.as_str());
        let failed = |error| error::of_call(&format!("bind queue {}", queue.name), &error);
        for pattern in &queue.types {
            let options = QueueBindOptions::default();
            let key = pattern.as_str().into();
            let binding = channel.queue_bind(name(), exchange(), key, options, FieldTable::default());
            binding.await.map_err(failed)?;
        }
        for pattern in before.iter().filter(|pattern| !queue.types.contains(pattern)) {
            self.take_away(&channel, &queue.name, pattern).await?;
        }
        close(&channel).await;
        Ok(())
    }

    /// Takes a binding away, if it is there.
    async fn take_away(&self, channel: &Channel, queue: &QueueName, pattern: &Pattern) -> Result<(), Error> {
        let (name, exchange) = (queue.as_str().into(), self.exchange.as_str().into());
        let key = pattern.as_str().into();
        match channel.queue_unbind(name, exchange, key, FieldTable::default()).await {
            Err(error) if !error::is_not_found(&error) => {
                Err(error::of_call(&format!("unbind queue {queue}"), &error))
            }
            _ => Ok(()),
        }
    }

    async fn make_exchange(&self, channel: &Channel) -> Result<(), Error> {
        let name = &self.exchange;
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let kind = ExchangeKind::Topic;
        let declaring = channel.exchange_declare(name.as_str().into(), kind, durable, FieldTable::default());
        declaring.await.map_err(|error| {
            let refused = error::of_call(&format!("declare exchange {name}"), &error);
            if !error::is_other(&error) {
                return refused;
            }
            let advice = "it is there, but no durable topic exchange: remove it, or choose another name";
            Error::new(ErrorKind::Conflict, format!("{refused}; {advice}"))
        })
    }

    fn declared(&self) -> MutexGuard<'_, BTreeMap<QueueName, QueueBinding>> {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new channel: an error on one ends it, and no other.
///
/// # Errors
/// `Unavailable`.
pub(crate) async fn channel(connection: &Connection) -> Result<Channel, Error> {
    connection.create_channel().await.map_err(|error| error::of_call("open a channel", &error))
}

/// Uses the queue that is there, whatever it is; makes a plain one where none is.
async fn adopt(connection: &Connection, queue: &QueueName) -> Result<Channel, Error> {
    let there = channel(connection).await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let look = || there.queue_declare(queue.as_str().into(), passive, FieldTable::default());
    match look().await {
        Ok(_) => return Ok(there),
        Err(error) if error::is_not_found(&error) => {}
        Err(error) => return Err(error::of_call(&format!("adopt queue {queue}"), &error)),
    }
    let new = channel(connection).await?;
    match new.queue_declare(queue.as_str().into(), durable(), FieldTable::default()).await {
        Ok(_) => Ok(new),
        // Somebody made it meanwhile; so it is there, and is used as it is.
        Err(error) if error::is_other(&error) => channel(connection).await,
        Err(error) => Err(error::of_call(&format!("declare queue {queue}"), &error)),
    }
}

/// Makes a queue with these arguments, unless it is there with them.
async fn create(connection: &Connection, queue: &QueueName, arguments: FieldTable) -> Result<Channel, Error> {
    let channel = channel(connection).await?;
    channel.queue_declare(queue.as_str().into(), durable(), arguments).await.map_err(|error| {
        let refused = error::of_call(&format!("declare queue {queue}"), &error);
        if !error::is_other(&error) {
            return refused;
        }
        let advice =
            "set `declare: adopt` to use it as it is, or empty and delete it so that it can be made anew";
        Error::new(ErrorKind::Conflict, format!("{refused}; {advice}"))
    })?;
    Ok(channel)
}

fn durable() -> QueueDeclareOptions {
    QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() }
}

/// Closes a channel in good order. It closes in any case when it is dropped.
async fn close(channel: &Channel) {
    if let Err(error) = channel.close(200, "OK".into()).await {
        tracing::debug!(%error, "a channel ended before it was closed");
    }
}

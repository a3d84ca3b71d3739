//! What a consumer tells the server about a message.

use std::time::Duration;

use async_nats::{Client, RequestErrorKind, Subject};
use orderwire_broker::{Error, ErrorKind};
use tokio::time::{Instant, timeout, timeout_at};

/// How long a server may take to hear of a message.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// What is said about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// It is done.
    Ack,
    /// It comes again, to anybody.
    GiveBack,
    /// It is with a consumer that lives; its time begins anew.
    Held,
}

impl Word {
    fn said(self) -> &'static [u8] {
        match self {
            Self::Ack => b"+ACK",
            Self::GiveBack => b"-NAK",
            Self::Held => b"+WPI",
        }
    }
}

/// Says it about messages, by the subjects that they came with for that. It is on its way
/// then; a word that is lost with the connection is a redelivery.
///
/// # Errors
/// `Unavailable`: not all could be said within the time.
pub(crate) async fn say(
    client: &Client,
    word: Word,
    replies: impl IntoIterator<Item = Subject>,
    within: Duration,
) -> Result<(), Error> {
    let until = Instant::now() + within;
    for reply in replies {
        let sent = timeout_at(until, client.publish(reply, word.said().into())).await;
        if !matches!(sent, Ok(Ok(()))) {
            return Err(Error::new(ErrorKind::Unavailable, "ack: the connection does not take it"));
        }
    }
    Ok(())
}

/// Says it about one message, and gives the server time to hear it, with all that was said
/// before. It answers nothing about a message that it does not count as handed out any more,
/// nor about one of a consumer that is gone.
///
/// # Errors
/// `Unavailable`: the connection does not take it.
pub(crate) async fn say_and_wait(client: &Client, word: Word, reply: Subject) -> Result<(), Error> {
    use RequestErrorKind::{NoResponders, TimedOut};
    match timeout(HEARD_WITHIN, client.request(reply, word.said().into())).await {
        Err(_) | Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if matches!(error.kind(), NoResponders | TimedOut) => Ok(()),
        Ok(Err(_)) => Err(Error::new(ErrorKind::Unavailable, "ack: the connection does not take it")),
    }
}

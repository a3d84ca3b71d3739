//! Deliveries over a WebSocket, against credit.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::header::{SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt as _};
use orderwire_api::auth::{Authenticator, shown_key};
use orderwire_api::extract::{Params, Segments};
use orderwire_api::wire::ServerMessage;
use orderwire_api::{Problem, ReadProblems};
use serde::Deserialize;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::talk::Said;
use super::{BEAT, Credentials, Opened, Stay};
use crate::problems::{malformed, of_queue};
use crate::settle::leased;
use crate::state::Shared;

/// The subprotocol that is spoken.
const PROTOCOL: &str = "orderwire";
/// What a subprotocol that brings a key begins with.
const KEY_PROTOCOL: &str = "orderwire.key.";
/// The longest message of a consumer, in bytes: the ids of a thousand deliveries.
const MESSAGE_BYTES: usize = 64 << 10;
/// The default of the library is many times what a consumer says.
const READ_BUFFER_BYTES: usize = 4 << 10;
/// How many settlements of one consumer are under way; beyond it nothing more is read.
const SETTLING_MAX: usize = 16;
/// After so long without any sign of life a consumer is taken for gone.
const SILENCE: Duration = Duration::from_secs(45);
/// How long a consumer may take to take one message.
const WRITE_WITHIN: Duration = Duration::from_secs(20);
/// How long it may take to say goodbye.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// Why deliveries are returned whose consumer went away.
const GONE: &str = "the connection of the consumer ended before it settled this";

#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SocketParams {
    /// How long a lease lasts, in milliseconds (60000). Who needs longer extends it.
    lease_ms: Option<u64>,
}

/// Deliveries over a WebSocket, as many as the consumer has asked for.
///
/// Messages are JSON texts. The consumer says `{"credit":n}` for so many more deliveries,
/// `{"ack":[ids]}`, `{"nack":[ids],"delay_ms"?,"cause"?,"fail"?}` and `{"extend":[ids],"lease_ms"?}`.
/// The server says `{"delivery":{…}}` with one element of a lease's `deliveries`, answers with `{"acked":[ids],"errors":[…]}`,
/// `{"nacked":…}` and `{"extended":…}`, in the order of what they answer, and with `{"error":problem}` to what
/// it could not do. When the consumer goes away, what is unsettled is returned: what it was handed first as a failed
/// attempt, the rest uncounted.
/// A browser, which cannot send a key as a header, offers the subprotocols `orderwire` and `orderwire.key.KEY`.
#[utoipa::path(get, path = "/v1/queues/{queue}/ws", tag = "queues",
    params(("queue" = String, Path, description = "the queue"), SocketParams),
    responses((status = 101, description = "the connection is a WebSocket now"),
        (status = 409, description = "a worker of Orderwire consumes the queue, or it is a stream and the key is not for all clients",
            body = Problem, content_type = "application/problem+json"),
        (status = 426, description = "not opened as a WebSocket over HTTP/1.1", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "the key holds too many connections", body = Problem, content_type = "application/problem+json"),
        ReadProblems))]
pub(crate) async fn get_ws(
    State(state): State<Shared>,
    Extension(authenticator): Extension<Arc<dyn Authenticator>>,
    headers: HeaderMap,
    Segments(name): Segments<String>,
    params: Result<Params<SocketParams>, Problem>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let key = key_of(&headers)?.to_owned();
    let credentials = Credentials { authenticator, key, headers };
    let checked = credentials.check().await?;
    let Params(params) = params?;
    let opened = Opened::new(state, credentials, checked, &name, params.lease_ms)?;
    let Ok(upgrade) = upgrade else { return Ok(not_a_websocket()) };
    let stay = opened.place("websocket")?;
    let session = |socket| Box::pin(Session::new(opened, stay, socket).run());
    Ok(upgrade
        .protocols([PROTOCOL])
        .max_message_size(MESSAGE_BYTES)
        .max_frame_size(MESSAGE_BYTES)
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .on_upgrade(session))
}

/// The key that a handshake shows: as any call does, or as a subprotocol, for a
/// browser's `WebSocket` cannot send headers. It is never in the URL, which others
/// log, and never sent back: the subprotocol that the server picks is the other one.
///
/// A key is shown on purpose, by whoever has it; there is no cookie that a browser
/// would add by itself. So it does not matter which page opens the connection, and
/// the header `Origin` is not looked at.
fn key_of(headers: &HeaderMap) -> Result<&str, Problem> {
    if let Some(key) = shown_key(headers) {
        return Ok(key);
    }
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut offered = offered.flat_map(|value| value.split(',')).map(str::trim);
    offered.find_map(|protocol| protocol.strip_prefix(KEY_PROTOCOL)).ok_or_else(|| {
        Problem::unauthorized(
            "no key: send Authorization: Bearer KEY or X-API-Key: KEY; from a browser, offer the subprotocols \
             orderwire and orderwire.key.KEY",
        )
    })
}

fn not_a_websocket() -> Response {
    let problem = Problem::new(
        StatusCode::UPGRADE_REQUIRED,
        "upgrade-required",
        "open this path as a WebSocket of version 13 over HTTP/1.1",
    );
    let mut response = problem.into_response();
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    response
}

/// Why a connection ends.
enum End {
    /// The consumer went away, or its connection did.
    Gone,
    /// The server ends it, and says why; the consumer's doing.
    Refused(u16, &'static str),
    /// The server ends it, for a reason of its own.
    Left(u16, &'static str),
}

type Answers = FuturesOrdered<BoxFuture<'static, ServerMessage>>;

/// One connection.
struct Session {
    opened: Opened,
    socket: WebSocket,
    /// How many more deliveries the consumer wants.
    credit: usize,
    /// Settlements under way; their answers come in order.
    settling: Answers,
    /// When the consumer was heard last.
    heard: Instant,
    _stay: Stay,
}

impl Session {
    fn new(opened: Opened, stay: Stay, socket: WebSocket) -> Self {
        Self { opened, socket, credit: 0, settling: Answers::new(), heard: Instant::now(), _stay: stay }
    }

    async fn run(mut self) {
        let Err(end) = self.serve().await;
        match end {
            End::Gone => self.gone().await,
            End::Refused(code, reason) => {
                self.close(code, reason, false).await;
                self.gone().await;
            }
            // The consumer is there, and what it has stays under its lease: it may
            // settle that with a call, or over another connection.
            End::Left(code, reason) => self.close(code, reason, true).await,
        }
    }

    async fn serve(&mut self) -> Result<Infallible, End> {
        let mut closed = std::pin::pin!(self.opened.consumer.closed());
        let mut beat = interval_at(Instant::now() + BEAT, BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let unsettled_max = self.opened.state.limits().lease_max;
        loop {
            tokio::select! {
                biased;
                () = &mut closed => return Err(End::Left(close_code::AWAY, "the server is stopping")),
                Some(answer) = self.settling.next() => self.say(&answer).await?,
                _ = beat.tick() => self.beat().await?,
                heard = self.socket.recv(), if self.settling.len() < SETTLING_MAX => self.hear(heard).await?,
                next = self.opened.consumer.next(unsettled_max, self.credit), if self.credit > 0 => match next {
                    Ok(None) => return Err(End::Left(close_code::AWAY, "the server is stopping")),
                    Ok(Some(delivery)) => match leased(&delivery, self.opened.format) {
                        Ok(delivery) => {
                            self.credit -= 1;
                            self.opened.state.handed_out.websocket.increment(1);
                            self.say(&ServerMessage::Delivery(delivery)).await?;
                        }
                        Err(problem) => return Err(self.fail(problem).await),
                    },
                    Err(err) => return Err(self.fail(of_queue(&err)).await),
                },
            }
        }
    }

    /// Takes what came from the consumer.
    async fn hear(&mut self, heard: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        self.heard = Instant::now();
        match heard {
            None => Err(End::Gone),
            Some(Ok(Message::Text(text))) => self.understand(&text).await,
            Some(Ok(Message::Binary(_))) => {
                let problem = malformed("a binary message; send JSON as a text message");
                self.say(&ServerMessage::Error(problem)).await
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Close(_))) => {
                // The library has the answer ready; asking for more sends it.
                let _ = timeout(CLOSE_WITHIN, self.socket.recv()).await;
                Err(End::Gone)
            }
            Some(Err(error)) => {
                tracing::debug!(queue.name = %self.opened.name, %error, "a consumer's connection failed");
                // The kind of the error is the library's, which is not ours to name.
                if error.to_string().contains("too long") {
                    return Err(End::Refused(close_code::SIZE, "a message is longer than 64 KiB"));
                }
                Err(End::Refused(close_code::PROTOCOL, "not the WebSocket protocol"))
            }
        }
    }

    async fn understand(&mut self, text: &str) -> Result<(), End> {
        let limits = self.opened.state.limits();
        match Said::parse(text, limits.json_depth, self.opened.lease_ms) {
            Ok(Said::Credit(more)) => {
                // Who asks for too much gets the most there is.
                self.credit = self.credit.saturating_add(more).min(limits.lease_max);
                Ok(())
            }
            Ok(Said::Settle(settlement)) => {
                let (state, caller) = (Arc::clone(&self.opened.state), self.opened.caller.clone());
                let applied = settlement.apply(state, caller, self.opened.name.clone());
                self.settling.push_back(Box::pin(applied));
                Ok(())
            }
            Err(problem) => self.say(&ServerMessage::Error(problem)).await,
        }
    }

    /// A sign of life, and a look at whether the consumer gave one, and at its key.
    async fn beat(&mut self) -> Result<(), End> {
        if self.heard.elapsed() > SILENCE {
            return Err(End::Refused(close_code::POLICY, "no answer to pings"));
        }
        if let Err(problem) = self.opened.credentials.check_again().await {
            self.say(&ServerMessage::Error(problem)).await?;
            return Err(End::Refused(close_code::POLICY, "the key is not valid any more"));
        }
        self.send(Message::Ping(bytes::Bytes::new())).await
    }

    /// Says what went wrong here; the connection ends after that.
    async fn fail(&mut self, problem: Problem) -> End {
        match self.say(&ServerMessage::Error(problem)).await {
            Ok(()) => End::Left(close_code::AGAIN, "try again later"),
            Err(end) => end,
        }
    }

    async fn say(&mut self, message: &ServerMessage) -> Result<(), End> {
        // Wire types and problems have string keys only.
        let text = serde_json::to_string(message).expect("a wire type is serialisable");
        self.send(Message::Text(text.into())).await
    }

    /// Sends a message. A consumer that does not take it in time is as good as gone.
    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(WRITE_WITHIN, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => {
                tracing::debug!(queue.name = %self.opened.name, "a consumer takes nothing from its connection");
                Err(End::Gone)
            }
        }
    }

    /// Says goodbye. If the consumer is `trusted` still, what it had sent by then is
    /// applied, without an answer, for nothing may follow the goodbye.
    async fn close(&mut self, code: u16, reason: &'static str, trusted: bool) {
        let goodbye = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        let closing = async {
            while self.settling.next().await.is_some() {}
            if self.socket.send(goodbye).await.is_err() {
                return;
            }
            while let Some(Ok(message)) = self.socket.recv().await {
                let (limits, lease_ms) = (self.opened.state.limits(), self.opened.lease_ms);
                if trusted
                    && let Message::Text(text) = message
                    && let Ok(Said::Settle(settlement)) = Said::parse(&text, limits.json_depth, lease_ms)
                {
                    let (state, caller) = (Arc::clone(&self.opened.state), self.opened.caller.clone());
                    settlement.apply(state, caller, self.opened.name.clone()).await;
                }
            }
        };
        // Out of time: the peer does not answer, which is its own doing.
        let _ = timeout(CLOSE_WITHIN, closing).await;
    }

    /// The consumer is gone: what it did not settle goes to others.
    async fn gone(mut self) {
        // What it settled before it went counts.
        while self.settling.next().await.is_some() {}
        self.opened.consumer.give_back(GONE).await;
    }
}

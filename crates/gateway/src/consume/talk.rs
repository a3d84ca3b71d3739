//! What a consumer says on a WebSocket.

use orderwire_api::extract::document;
use orderwire_api::wire::{AckRequest, ConsumerMessage, ExtendRequest, NackRequest, ServerMessage};
use orderwire_api::{Caller, Problem};
use orderwire_types::QueueName;

use crate::problems::invalid;
use crate::settle;
use crate::state::Shared;

/// One message of a consumer.
#[derive(Debug)]
pub(super) enum Said {
    /// It wants so many more.
    Credit(usize),
    /// It is done with deliveries, or not.
    Settle(Settlement),
}

/// A settlement or an extension.
#[derive(Debug)]
pub(super) enum Settlement {
    Ack(AckRequest),
    Nack(NackRequest),
    Extend(ExtendRequest),
}

impl Said {
    /// Reads a message. `lease_ms` is how long leases of this connection are.
    ///
    /// # Errors
    /// 400 when it is not JSON, 422 when it is not one of the messages.
    pub(super) fn parse(text: &str, json_depth: usize, lease_ms: u64) -> Result<Self, Problem> {
        let said: ConsumerMessage = document(text.as_bytes(), json_depth)?;
        let nack_only = [
            ("delay_ms", said.delay_ms.is_some()),
            ("cause", said.cause.is_some()),
            ("fail", said.fail.is_some()),
        ];
        let extend_only = [("lease_ms", said.lease_ms.is_some())];
        let foreign = |members: &[(&str, bool)], of: &str| match members.iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(invalid(format!("/{name}"), format!("belongs to {of}"))),
            None => Ok(()),
        };
        if said.nack.is_none() {
            foreign(&nack_only, "nack")?;
        }
        if said.extend.is_none() {
            foreign(&extend_only, "extend")?;
        }
        match (said.credit, said.ack, said.nack, said.extend) {
            (Some(0), None, None, None) => Err(invalid("/credit", "must be at least 1")),
            (Some(credit), None, None, None) => {
                Ok(Self::Credit(usize::try_from(credit).unwrap_or(usize::MAX)))
            }
            (None, Some(delivery_ids), None, None) => {
                Ok(Self::Settle(Settlement::Ack(AckRequest { delivery_ids })))
            }
            (None, None, Some(delivery_ids), None) => Ok(Self::Settle(Settlement::Nack(NackRequest {
                delivery_ids,
                delay_ms: said.delay_ms,
                cause: said.cause,
                fail: said.fail.unwrap_or(false),
            }))),
            (None, None, None, Some(delivery_ids)) => Ok(Self::Settle(Settlement::Extend(ExtendRequest {
                delivery_ids,
                lease_ms: said.lease_ms.unwrap_or(lease_ms),
            }))),
            _ => Err(invalid("", "must have exactly one of credit, ack, nack and extend")),
        }
    }
}

impl Settlement {
    /// Does it, and says what became of it.
    pub(super) async fn apply(self, state: Shared, caller: Caller, queue: QueueName) -> ServerMessage {
        let name = queue.as_str();
        let (member, answer) = match self {
            Self::Ack(request) => {
                let settled = settle::ack(&state, &caller, name, request).await;
                let acked = |(acked, errors)| ServerMessage::Acked { acked, errors };
                ("ack", settled.map(settle::Settled::into_parts).map(acked))
            }
            Self::Nack(request) => {
                let settled = settle::nack(&state, &caller, name, request).await;
                let nacked = |(nacked, errors)| ServerMessage::Nacked { nacked, errors };
                ("nack", settled.map(settle::Settled::into_parts).map(nacked))
            }
            Self::Extend(request) => {
                let settled = settle::extend(&state, &caller, name, request).await;
                let extended = |(extended, errors)| ServerMessage::Extended { extended, errors };
                ("extend", settled.map(settle::Settled::into_parts).map(extended))
            }
        };
        answer.unwrap_or_else(|mut problem| {
            // The calls name their member; here it goes by the message's own.
            if let Some(rest) = problem.pointer.as_deref().and_then(|at| at.strip_prefix("/delivery_ids")) {
                problem.pointer = Some(format!("/{member}{rest}"));
            }
            ServerMessage::Error(problem)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Said, Problem> {
        Said::parse(text, 8, 60_000)
    }

    #[test]
    fn each_message_is_understood() {
        assert!(matches!(parse(r#"{"credit":3}"#), Ok(Said::Credit(3))));
        assert!(
            matches!(parse(r#"{"ack":["a"]}"#), Ok(Said::Settle(Settlement::Ack(ack))) if ack.delivery_ids == ["a"])
        );
        let nack = parse(r#"{"nack":["a"],"delay_ms":5,"cause":"busy","fail":true}"#);
        assert!(
            matches!(nack, Ok(Said::Settle(Settlement::Nack(nack))) if nack.delay_ms == Some(5) && nack.fail)
        );
        let extend = parse(r#"{"extend":["a"]}"#);
        assert!(matches!(extend, Ok(Said::Settle(Settlement::Extend(extend))) if extend.lease_ms == 60_000));
    }

    #[test]
    fn what_is_no_message_is_refused_with_its_place() {
        for (text, status, pointer) in [
            ("garbage", 400, None),
            ("[]", 422, None),
            ("{}", 422, None),
            (r#"{"credit":0}"#, 422, Some("/credit")),
            (r#"{"credit":-1}"#, 422, Some("/credit")),
            (r#"{"credit":1,"ack":["a"]}"#, 422, None),
            (r#"{"ack":["a"],"delay_ms":1}"#, 422, Some("/delay_ms")),
            (r#"{"nack":["a"],"lease_ms":1}"#, 422, Some("/lease_ms")),
            (r#"{"ack":"a"}"#, 422, Some("/ack")),
            (r#"{"steal":["a"]}"#, 422, Some("/steal")),
            ("[[[[[[[[[[]]]]]]]]]]", 422, None),
        ] {
            let problem = parse(text).expect_err(text);
            assert_eq!(problem.status, status, "{text}: {problem:?}");
            if pointer.is_some() {
                assert_eq!(problem.pointer.as_deref(), pointer, "{text}: {problem:?}");
            }
        }
    }
}

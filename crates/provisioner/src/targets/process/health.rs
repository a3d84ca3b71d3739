//! How a release is, in the words of the contract.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::manifest::PROCESS;
use super::protocol::{Phase, ProcessState};
use crate::target::{Health, Resource};

pub(super) fn resource(kind: &str, name: &str, state: &str, reason: Option<String>) -> Resource {
    let (kind, name, state) = (kind.to_owned(), name.to_owned(), state.to_owned());
    Resource { kind, name, state, reason, endpoint: None, ports: BTreeMap::new() }
}

pub(super) fn of_process(name: &str, state: Option<&ProcessState>) -> Resource {
    let Some(ProcessState { phase, reason, endpoint, ports, .. }) = state else {
        return resource(PROCESS, name, "progressing", Some(format!("process {name} is being started")));
    };
    let (state, answers) = match phase {
        Phase::Ready => ("ready", true),
        Phase::Failed => ("failed", false),
        Phase::Running | Phase::Unready => ("progressing", true),
        Phase::Starting | Phase::Exited => ("progressing", false),
    };
    let endpoint = endpoint.clone().filter(|_| answers);
    let address = |(name, port): (&String, &u16)| (name.clone(), format!("{}:{port}", Ipv4Addr::LOCALHOST));
    let ports = ports.iter().filter(|_| answers).map(address).collect();
    Resource { endpoint, ports, ..resource(PROCESS, name, state, reason.clone()) }
}

pub(super) fn health(runs: Result<(), String>, resources: &[Resource]) -> Health {
    if let Err(reason) = runs {
        return Health::Missing(reason);
    }
    let first = |state: &str| {
        let of_state = |resource: &&Resource| resource.state == state;
        resources.iter().find(of_state).map(|resource| resource.reason.clone().unwrap_or_default())
    };
    first("missing")
        .map(Health::Missing)
        .or_else(|| first("failed").map(Health::Failed))
        .or_else(|| first("progressing").map(Health::Progressing))
        .unwrap_or(Health::Ready)
}

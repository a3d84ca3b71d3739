//! Openings, where a release may be reached from outside of itself, and gates, what
//! has to answer there before a revision counts as ready.

use std::collections::BTreeMap;
use std::fmt;

use orderwire_config::Report;
use orderwire_types::Label;
use serde::{Deserialize, Serialize};

use crate::probe::is_request_path;
use crate::target::Manifest;

/// The most openings of a product.
const OPENINGS_MAX: usize = 16;
/// The most gates of a product.
const GATES_MAX: usize = 8;
/// The most answers that a gate may want.
const STATUS_MAX: usize = 16;
/// The most bytes of a path, or of a text that an answer has to contain.
const TEXT_BYTES_MAX: usize = 1_024;

/// The openings of a product, by name.
pub type Openings = BTreeMap<Label, Opening>;

/// Where a release may be reached from outside of itself; everything else of it is
/// private.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// The port: one that exactly one object of the release has.
    pub port: Label,
    /// What is spoken there.
    #[serde(default)]
    pub scheme: Scheme,
    /// What it is for, in a sentence for people: no part of a revision.
    #[serde(default, skip_serializing)]
    pub description: Option<String>,
}

impl Opening {
    /// Where it is reached, when its port answers at this address.
    pub fn url(&self, address: &str) -> String {
        format!("{}://{address}", self.scheme)
    }
}

/// What is spoken at an opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// HTTP in the clear.
    #[default]
    Http,
    /// HTTP over TLS.
    Https,
    /// Anything else over TCP.
    Tcp,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
        })
    }
}

/// What has to be so before a revision counts as ready, beside what its target says of
/// it. `Display` names it as people know it: `gate http /healthz of opening site`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// How a GET is answered.
    pub http: HttpGate,
}

/// A GET and its answer. A redirect is an answer like any other: it is not followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGate {
    /// Where it is asked: an opening of the product, with the scheme `http`.
    pub opening: Label,
    /// The path, with its query if it has one.
    #[serde(default = "root")]
    pub path: String,
    /// The answers of which one is wanted.
    #[serde(default = "ok")]
    pub status: Vec<u16>,
    /// What the body of the answer has to contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
}

fn root() -> String {
    "/".to_owned()
}

fn ok() -> Vec<u16> {
    vec![200]
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gate http {} of opening {}", self.http.path, self.http.opening)
    }
}

/// What can be wrong with openings and gates without an object at hand.
pub(super) fn check(openings: &Openings, gates: &[Gate], report: &mut Report<'_>) {
    if openings.len() > OPENINGS_MAX {
        report.fault(&["openings"], format!("at most {OPENINGS_MAX}"));
    }
    for (name, opening) in openings {
        let length = opening.description.as_ref().map_or(1, |text| text.trim().chars().count());
        if !(1..=1_000).contains(&length) {
            report.fault(&["openings", name.as_str(), "description"], "must be text of 1 to 1000 characters");
        }
    }
    if gates.len() > GATES_MAX {
        report.fault(&["health", "gates"], format!("at most {GATES_MAX}"));
    }
    for (i, Gate { http }) in gates.iter().enumerate() {
        let item = format!("[{i}]");
        let mut fault =
            |field: &str, detail: String| report.fault(&["health", "gates", &item, "http", field], detail);
        match openings.get(&http.opening) {
            None => fault("opening", format!("{} is not among openings", http.opening)),
            Some(Opening { scheme: Scheme::Http, .. }) => {}
            Some(Opening { scheme, .. }) => {
                let opening = &http.opening;
                fault(
                    "opening",
                    format!("a GET is asked over http, and {opening} is an opening for {scheme}"),
                );
            }
        }
        if !is_request_path(&http.path) || http.path.len() > TEXT_BYTES_MAX {
            fault(
                "path",
                format!(
                    "begins with /, has no space or control character and at most {TEXT_BYTES_MAX} bytes"
                ),
            );
        }
        let known = http.status.iter().all(|status| (200..=599).contains(status));
        if !known || !(1..=STATUS_MAX).contains(&http.status.len()) {
            fault("status", format!("must be 1 to {STATUS_MAX} codes from 200 to 599, such as [200, 204]"));
        }
        if http.contains.as_ref().is_some_and(|text| !(1..=TEXT_BYTES_MAX).contains(&text.len())) {
            fault("contains", format!("must be text of 1 to {TEXT_BYTES_MAX} bytes"));
        }
    }
}

/// The openings whose port not exactly one object has, each with what is wrong. `ports`
/// names the ports of an object, as its target knows them.
pub(crate) fn misplaced<'o>(
    openings: &'o Openings,
    manifests: &[Manifest],
    ports: impl Fn(&Manifest) -> Vec<String>,
) -> Vec<(&'o Label, String)> {
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for manifest in manifests.iter().filter(|_| !openings.is_empty()) {
        for port in ports(manifest) {
            owners.entry(port).or_default().push(format!("{} {}", manifest.kind(), manifest.name()));
        }
    }
    let wrong = |(name, opening): (&'o Label, &'o Opening)| {
        let port = &opening.port;
        let detail = match owners.get(port.as_str()).map(Vec::as_slice) {
            Some([_]) => return None,
            Some(several) => {
                let several = several.join(" and ");
                format!("port {port} is one of {several}; give each port that is opened a name of its own")
            }
            None => {
                let known: Vec<&str> = owners.keys().map(String::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                format!("no object has a port {port}; the ports of this release are: {known}")
            }
        };
        Some((name, detail))
    };
    openings.iter().filter_map(wrong).collect()
}

//! Where it was measured: figures mean little without that.

use hyper::Method;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::server::Server;

/// The machine of the generator.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    /// Cores that this process may use.
    pub(super) cores: usize,
    /// The processor, if the system says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) processor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory_mib: Option<u64>,
    /// The system and its kernel.
    pub(super) system: String,
    /// The version of the generator.
    pub(super) generator: &'static str,
}

impl Machine {
    pub(super) fn here() -> Self {
        let uname = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let kernel = format!("{} {} {}", text(uname.sysname()), text(uname.release()), text(uname.machine()));
        // Each of these files is Linux's own; elsewhere less is known.
        let read = |path| std::fs::read_to_string(path).ok();
        let name = read("/etc/os-release").and_then(|text| value(&text, "PRETTY_NAME", '='));
        let memory = read("/proc/meminfo").and_then(|text| value(&text, "MemTotal", ':'));
        let kib = memory.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: read("/proc/cpuinfo").and_then(|text| value(&text, "model name", ':')),
            memory_mib: kib.map(|kib| kib >> 10),
            system: name.map_or_else(|| kernel.clone(), |name| format!("{name}, {kernel}")),
            generator: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// The value of the first line with this name.
fn value(text: &str, name: &str, between: char) -> Option<String> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(between)?;
        (found.trim() == name).then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// The server that was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measurand {
    pub(super) url: String,
    /// What it says that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
}

#[derive(Deserialize)]
struct OpenApi {
    info: Info,
}

#[derive(Deserialize)]
struct Info {
    title: String,
    version: String,
}

impl Measurand {
    /// # Errors
    /// `Unavailable` when nobody answers.
    pub(super) async fn of(server: &Server) -> Result<Self, Error> {
        let request = server.request(Method::GET, &["openapi.json"], &[]);
        let response = request.send().await.map_err(|error| server.broken(&error))?;
        let named = response.headers().get("server").and_then(|name| name.to_str().ok()).map(str::to_owned);
        let text = response.text().await.map_err(|error| server.broken(&error))?;
        // Other servers answer something else.
        let info = serde_json::from_str::<OpenApi>(&text).ok().map(|document| document.info);
        let version = info.map(|info| format!("{} {}", info.title, info.version)).or(named);
        Ok(Self { url: server.base().to_string(), version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_name() {
        let text = "ID=debian\nPRETTY_NAME=\"Debian 12\"\nmodel name\t: A: B\n";
        assert_eq!(value(text, "PRETTY_NAME", '=').as_deref(), Some("Debian 12"));
        assert_eq!(value(text, "model name", ':').as_deref(), Some("A: B"));
        assert_eq!(value(text, "NAME", '='), None);
    }

    #[test]
    fn this_machine_is_known() {
        let machine = Machine::here();
        assert!(machine.cores > 0 && !machine.system.is_empty(), "{machine:?}");
    }
}

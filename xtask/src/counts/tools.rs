//! What the counts depend on beside the source.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::shell;

/// The tools of a machine, each by its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tools(Vec<(&'static str, String)>);

/// The compilers make the code (the C compiler that of SQLite), the C library and, by
/// the processor, the variant of a function that is taken at run time are part of
/// what is counted, valgrind shows programs a processor of its own making.
const NAMES: [&str; 5] = ["rustc", "cc", "libc", "valgrind", "processor"];

impl Tools {
    pub(super) fn here() -> Result<Self> {
        Ok(Self(vec![
            ("rustc", first_line(Command::new("rustc").arg("--version"))?),
            ("cc", first_line(Command::new("cc").arg("--version"))?),
            ("libc", first_line(Command::new("getconf").arg("GNU_LIBC_VERSION"))?),
            ("valgrind", first_line(Command::new("valgrind").arg("--version"))?),
            ("processor", processor().to_owned()),
        ]))
    }

    /// How the other ones differ, in words.
    pub(super) fn differences(&self, here: &Self) -> Vec<String> {
        let pairs = self.0.iter().zip(&here.0).filter(|(recorded, here)| recorded != here);
        pairs
            .map(|((name, recorded), (_, here))| format!("{name} was {recorded}, here it is {here}"))
            .collect()
    }

    pub(super) fn to_json(&self) -> Value {
        let entries = self.0.iter().map(|(name, words)| ((*name).to_owned(), words.as_str().into()));
        Value::Object(entries.collect::<Map<_, _>>())
    }

    pub(super) fn from_json(json: &Value) -> Result<Self> {
        let entry = |name: &'static str| {
            let words = json[name].as_str().with_context(|| format!("tools: {name} is missing"))?;
            Ok((name, words.to_owned()))
        };
        NAMES.into_iter().map(entry).collect::<Result<_>>().map(Self)
    }
}

fn first_line(command: &mut Command) -> Result<String> {
    let text = shell::output(command)?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// As far as it decides which code runs. Valgrind knows no vectors wider than those of
/// AVX2, so that all processors that have these look the same beneath it.
fn processor() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    let with_vectors = std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    let with_vectors = false;
    if with_vectors { "x86_64 with AVX2" } else { std::env::consts::ARCH }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(rustc: &str) -> Tools {
        Tools(NAMES.map(|name| (name, if name == "rustc" { rustc } else { "1" }.to_owned())).into())
    }

    #[test]
    fn a_tool_of_another_version_is_named() {
        assert!(tools("rustc 1.95.0").differences(&tools("rustc 1.95.0")).is_empty());
        let differences = tools("rustc 1.95.0").differences(&tools("rustc 1.96.0"));
        assert_eq!(differences, ["rustc was rustc 1.95.0, here it is rustc 1.96.0"]);
    }

    #[test]
    fn tools_are_read_as_they_were_written() {
        assert_eq!(Tools::from_json(&tools("a").to_json()).unwrap(), tools("a"));
        assert!(Tools::from_json(&serde_json::json!({"rustc": "a"})).is_err());
    }
}

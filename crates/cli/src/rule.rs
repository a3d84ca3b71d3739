//! `orderwire rule …`.

use std::io::Read;

use orderwire_api::wire::{RuleTrial, RuleTrials};
use orderwire_config::{Config, Rule};
use orderwire_types::{Limits, Pattern};
use serde_json::json;

use crate::args::{self, Configured, Global, RuleTest};
use crate::check;
use crate::error::{Error, ErrorKind};
use crate::local::{Local, RuleRequest};
use crate::out::{ABSENT, Out, Table, or_dash, plain};

pub(crate) fn run(command: &args::Rule, global: &Global, local: Local, out: Out) -> Result<(), Error> {
    match command {
        args::Rule::List { configured } => list(&load(configured, global, local)?, out),
        args::Rule::Test(args) => test(args, global, local, out),
    }
}

/// The configuration with all of its checks, as a server loads it.
fn load(configured: &Configured, global: &Global, local: Local) -> Result<Config, Error> {
    (local.load)(&check::sources(configured.config.clone(), global)).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(|fault| plain(&fault.to_string()).into_owned()).collect();
        Error::invalid(format!("the configuration has faults: {}", faults.join("; ")))
    })
}

fn list(config: &Config, out: Out) -> Result<(), Error> {
    if out.json {
        let mut items = Vec::new();
        for (name, Rule { on, when, emit }) in &config.rules {
            items.push(json!({"rule": name.as_str(), "on": on, "when": when, "emit": emit}));
        }
        return out.json(&json!({ "items": items, "next": null }));
    }
    let mut table = Table::new(["rule", "on", "when", "emits"]);
    for (name, Rule { on, when, emit }) in &config.rules {
        let on: Vec<&str> = on.iter().map(Pattern::as_str).collect();
        let emits: Vec<&str> = emit.iter().map(|emission| emission.event_type.as_str()).collect();
        table.row([name.to_string(), on.join(", "), or_dash(when.as_deref()), emits.join(", ")]);
    }
    out.table(&table)
}

fn test(args: &RuleTest, global: &Global, local: Local, out: Out) -> Result<(), Error> {
    let config = load(&args.configured, global, local)?;
    if let Some(name) = &args.rule {
        config.rule(name).map_err(|said| Error::new(ErrorKind::NotFound, said))?;
    }
    let limits = Limits::from(&config.limits);
    let request = RuleRequest {
        rule: args.rule.clone(),
        event: read(&args.event, limits.event_bytes)?,
        event_type: args.event_type.clone(),
        client: global.client.clone(),
    };
    let text = (local.try_rules)(&config, &request).map_err(|said| {
        // What the server says of its own way to name a type.
        Error::invalid(
            said.replace("post plain JSON to /v1/events/{type}", "say the type of plain JSON with --type"),
        )
    })?;
    let trials: RuleTrials = serde_json::from_str(&text)
        .map_err(|error| Error::failed(format!("cannot read what the rules would do: {error}")))?;
    if out.json {
        out.line(&text)?;
    } else {
        out.bytes(shown(&trials).as_bytes())?;
    }
    // The rules were told with what is wrong with them.
    let fails = trials.rules.iter().any(|trial| trial.error.is_some());
    if fails { Err(Error::reported(ErrorKind::Invalid)) } else { Ok(()) }
}

/// The event of a file or of standard input; one byte more than is taken is enough to refuse it.
fn read(name: &str, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let unreadable = |error: &std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Failed,
        };
        Error::new(kind, format!("cannot read the event {name}: {error}"))
    };
    let source: Box<dyn Read> = match name {
        "-" => Box::new(std::io::stdin()),
        name => Box::new(std::fs::File::open(name).map_err(|error| unreadable(&error))?),
    };
    let mut bytes = Vec::new();
    source.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    Ok(bytes)
}

/// A table of the rules, and below it each event that they would emit.
fn shown(trials: &RuleTrials) -> String {
    let mut table = Table::new(["rule", "matches", "holds", "emits", "why"]);
    let word = |is: bool| String::from(if is { "yes" } else { "no" });
    for RuleTrial { rule, matches, holds, reason, error, emits } in &trials.rules {
        let why = match (error, reason) {
            (Some(error), _) => format!("fails: {error}"),
            (None, Some(reason)) => reason.clone(),
            (None, None) => ABSENT.to_owned(),
        };
        let emits = if emits.is_empty() { ABSENT.to_owned() } else { emits.len().to_string() };
        table.row([rule.clone(), word(*matches), or_dash(holds.map(word)), emits, why]);
    }
    let mut text = table.render();
    for trial in &trials.rules {
        for emitted in &trial.emits {
            let queues = emitted.queues.join(", ");
            text.push_str(&format!(
                "\n{} emits, for {queues}:\n{}\n",
                trial.rule,
                plain(emitted.event.get())
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn local() -> Local {
        Local {
            load: Config::load,
            lint: |_, _| panic!("nothing is checked here"),
            render: |_, _| panic!("nothing is rendered here"),
            try_rules: |_, request| match request.event.as_slice() {
                b"{}" => Err("it has no type: post plain JSON to /v1/events/{type}".to_owned()),
                b"wrong" => {
                    Ok(r#"{"event":{},"rules":[{"rule":"hot","matches":true,"error":"no","emits":[]}]}"#
                        .into())
                }
                _ => Ok(r#"{"event":{},"rules":[]}"#.into()),
            },
            warnings: |_| panic!("nothing is warned of here"),
            try_broker: |_| panic!("no broker is tried here"),
            try_store: |_| panic!("no store is tried here"),
            try_cache: |_| panic!("no cache is tried here"),
        }
    }

    fn ran(folder: &tempfile::TempDir, event: &str, more: &[&str]) -> Result<(), Error> {
        let (config, file) = (folder.path().join("orderwire.yaml"), folder.path().join("event.json"));
        let rules = "queues: {w: {types: [w.#]}}\nrules: {hot: {on: [a], emit: [{type: w.x}]}}\n";
        std::fs::write(&config, rules).unwrap();
        std::fs::write(&file, event).unwrap();
        let (config, file) = (config.to_string_lossy(), file.to_string_lossy());
        let words = ["orderwire", "rule", "test", "--config", &config, "--event", &file];
        let cli = Cli::try_parse_from([&words, more].concat()).unwrap();
        let Command::Rule(command) = &cli.command else { panic!("{cli:?}") };
        run(command, &cli.global, local(), Out { json: false })
    }

    #[test]
    fn a_test_ends_with_what_became_of_it() {
        let folder = tempfile::tempdir().unwrap();
        assert!(ran(&folder, "fine", &[]).is_ok() && ran(&folder, "fine", &["hot"]).is_ok());
        assert_eq!(ran(&folder, "wrong", &[]).unwrap_err().kind(), ErrorKind::Invalid);
        let error = ran(&folder, "{}", &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("--type"), "{error}");
        let error = ran(&folder, "fine", &["hott"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("did you mean hot?"), "{error}");
        let error = read("/nowhere/event.json", 9).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_rules_would_do_is_a_table_with_the_events_below() {
        let text = r#"{"event":{},"rules":[
            {"rule":"cold","matches":false,"emits":[]},
            {"rule":"dry","matches":true,"holds":false,"reason":"event.data.wet does not exist","emits":[]},
            {"rule":"hot","matches":true,"holds":true,"emits":[{"event":{"id":"1"},"queues":["alarms","audit"]}]}]}"#;
        let table = shown(&serde_json::from_str(text).unwrap());
        assert_eq!(
            table,
            "RULE  MATCHES  HOLDS  EMITS  WHY\n\
             cold  no       -          -  -\n\
             dry   yes      no         -  event.data.wet does not exist\n\
             hot   yes      yes        1  -\n\
             \nhot emits, for alarms, audit:\n{\"id\":\"1\"}\n"
        );
    }
}

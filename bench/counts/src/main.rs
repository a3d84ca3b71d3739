//! Hot paths whose instructions `cargo xtask counts` counts under callgrind.
//!
//! ```text
//! orderwire-counts                       every path: its name, how often it is run, what it is
//! orderwire-counts NAME TIMES FOLDER     runs one so many times, on an empty folder
//! ```
//!
//! A path is counted by running it N times and 2N times, each in a process of its own:
//! the difference, divided by N, is what one run costs, and everything that is done
//! once cancels out. So a path prepares the same whatever TIMES is, and does nothing
//! that depends on the time or on chance.
//!
//! Invariants: fixed inputs and clocks; one runtime thread beside the engine's own;
//! every answer is checked, because a path that fails is fast. The allocator is the
//! one that the server has. Metrics go nowhere, unlike the server's: their library
//! calibrates its clock at the start for as long as that takes.

mod engine;
mod envelopes;
mod inputs;
mod path;
mod reads;
mod server;
mod writes;

use std::process::ExitCode;

use anyhow::{Context, bail};

use path::HotPath;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Every path, by what it is part of. `times` is small enough that no path writes so
/// much that its log is copied into the file meanwhile: that would count in one
/// half alone.
static PATHS: &[HotPath] = &[
    HotPath {
        name: "read-message-attributes",
        times: 200,
        what: "bytes of a message-attributes event into an event with its identity",
        run: |run| Box::pin(envelopes::message_attributes(run)),
    },
    HotPath {
        name: "read-cloudevent",
        times: 200,
        what: "bytes of a structured CloudEvent into an event with its identity",
        run: |run| Box::pin(envelopes::cloudevent(run)),
    },
    HotPath {
        name: "route",
        times: 200,
        what: "the queues of a type that was not seen before, among 100 queues",
        run: |run| Box::pin(engine::route(run)),
    },
    HotPath {
        name: "append-1",
        times: 40,
        what: "one event into a task queue, one commit",
        run: |run| Box::pin(engine::append::<1>(run)),
    },
    HotPath {
        name: "append-64",
        times: 10,
        what: "64 events of 64 callers into a task queue, one commit",
        run: |run| Box::pin(engine::append::<64>(run)),
    },
    HotPath {
        name: "claim-settle-64",
        times: 5,
        what: "64 deliveries of 64 lanes leased and acked, two commits",
        run: |run| Box::pin(engine::claim_and_settle(run)),
    },
    HotPath {
        name: "post-event",
        times: 40,
        what: "POST /v1/events of one event, from the request to the 202",
        run: |run| Box::pin(writes::post_event(run)),
    },
    HotPath {
        name: "post-rows",
        times: 5,
        what: "POST /v1/datasets/air/rows of 500 rows of NDJSON, from the request to the 202",
        run: |run| Box::pin(writes::post_rows(run)),
    },
    HotPath {
        name: "record-rows",
        times: 5,
        what: "500 rows of one event into the table of their dataset, one commit",
        run: |run| Box::pin(reads::record(run)),
    },
    HotPath {
        name: "rest",
        times: 20,
        what: "GET /rest/air of 100 rows of one station, from the store",
        run: |run| Box::pin(reads::rest(run)),
    },
    HotPath {
        name: "view-hit",
        times: 1000,
        what: "GET of a view of 300 kB that is in the cache",
        run: |run| Box::pin(reads::view_hit(run)),
    },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match command(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command(words: &[String]) -> anyhow::Result<()> {
    match words {
        [] => {
            for HotPath { name, times, what, .. } in PATHS {
                println!("{name}\t{times}\t{what}");
            }
            Ok(())
        }
        [name, times, folder] => {
            let path = PATHS.iter().find(|path| path.name == name);
            let path = path.with_context(|| format!("there is no path {name}"))?;
            let times = times.parse().with_context(|| format!("{times} is not how often to run"))?;
            path.run(times, folder.as_ref())
        }
        _ => bail!("usage: orderwire-counts [NAME TIMES FOLDER]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a path checks of its answers holds as often as it is counted.
    #[test]
    fn every_path_does_what_it_says() {
        for path in PATHS {
            let folder = tempfile::tempdir().unwrap();
            path.run(2 * path.times, folder.path())
                .unwrap_or_else(|error| panic!("{}: {error:#}", path.name));
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = PATHS.iter().map(|path| path.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PATHS.len());
    }
}

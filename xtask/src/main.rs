//! What the project runs on itself: `cargo xtask check`, `test`, `tidy`, `counts`,
//! `services` and `generate`.
//!
//! `check` is exactly what continuous integration runs, so that nobody has to
//! guess. This crate owns no state and knows the product only from outside,
//! through cargo and the files of the checkout.

mod air_quality;
mod check;
mod counts;
mod generate;
mod needs;
mod node;
mod python;
mod services;
mod shell;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  check             everything that CI runs: fmt, tidy, clippy, docs, doc tests, tests, counts
  test [-- ARGS]    build the binary and run the tests; ARGS go to the test runner,
                    for example: cargo xtask test -- -p orderwire-types
  tidy              the rules that no compiler checks: direction of dependencies, file
                    length, generated files, banned constructs, links
  counts [--update] the instructions of hot paths against bench/counts.json, or recorded there
  services          start the servers of this machine that suites use, as far as installed
  generate          write every generated file anew
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let outcome = match (command, rest) {
        ("check", []) => check::run(),
        ("test", rest) => test::run(rest.strip_prefix(&["--".to_owned()]).unwrap_or(rest)),
        ("tidy", []) => tidy::run(),
        ("counts", []) => counts::run(false),
        ("counts", [update]) if update == "--update" => counts::run(true),
        ("services", []) => services::run(),
        ("generate", []) => generate::run(),
        ("help" | "--help" | "-h", _) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("error: no such command: {}\n\n{USAGE}", args.join(" "));
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// The README's first command is `cargo run --release -- demo`.
    #[test]
    fn cargo_run_runs_orderwire() {
        let metadata = Command::new(env!("CARGO"))
            .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .output()
            .unwrap();
        let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
        let members = metadata["workspace_default_members"].as_array().unwrap();
        assert_eq!(members.len(), 1, "{members:?}");
        assert!(members[0].as_str().unwrap().contains("/bin/orderwire#"), "{members:?}");
    }
}

//! From a command line to an exit code.

use clap::CommandFactory as _;

use crate::args::{Cli, Command, Config, Dataset};
use crate::error::Error;
use crate::local::Local;
use crate::out::Out;
use crate::server::Server;
use crate::{
    check, clients, dataset, dead, event, exit, forward, keys, load, manual, module, order, plan, product,
    queue, release, rule, trace,
};

/// Carries out a command and returns its exit code, one of [`exit`]. What goes
/// wrong is said on stderr. `local` is what works without a server. `up`, `demo`
/// and `supervise` are the binary's.
pub async fn run(cli: Cli, local: Local) -> u8 {
    let out = Out::new(cli.global.output);
    if let Command::Module(program) = &cli.command {
        return Box::pin(module::run(program, out)).await;
    }
    match Box::pin(dispatch(&cli, local, out)).await {
        Ok(()) => exit::OK,
        Err(error) => error.report(out.json),
    }
}

async fn dispatch(cli: &Cli, local: Local, out: Out) -> Result<(), Error> {
    let global = &cli.global;
    match &cli.command {
        Command::Up(_) | Command::Demo(_) | Command::Module(_) | Command::Supervise { .. } => Err(
            Error::usage("servers and programs are started by the binary, by the command as its first word"),
        ),
        Command::Check(args) => check::run(args, global, local, out).await,
        Command::Order(command) => Box::pin(order::run(command, global, out)).await,
        Command::Plan(args) => Box::pin(plan::run(args, &Server::new(global)?, out)).await,
        Command::Release(command) => Box::pin(release::run(command, &Server::new(global)?, out)).await,
        Command::Product(command) => Box::pin(product::run(command, global, local, out)).await,
        Command::Config(Config::Default) => out.bytes(orderwire_config::default_yaml().as_bytes()),
        Command::Config(Config::Schema) => {
            let schema = serde_json::to_string_pretty(&orderwire_config::schema());
            out.line(&schema.map_err(|error| Error::failed(format!("cannot show the schema: {error}")))?)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "orderwire", &mut script);
            out.bytes(&script)
        }
        Command::Man => out.bytes(&manual::page()?),
        Command::Event(command) => Box::pin(event::run(command, &Server::new(global)?, out)).await,
        Command::Rule(command) => rule::run(command, global, local, out),
        Command::Queue(command) => Box::pin(queue::run(command, &Server::new(global)?, out)).await,
        Command::Dead(command) => Box::pin(dead::run(command, global, out)).await,
        Command::Forward(command) => Box::pin(forward::run(command, &Server::new(global)?, out)).await,
        Command::Trace(args) => trace::run(args, &Server::new(global)?, out).await,
        Command::Lineage(args) => trace::run_lineage(args, &Server::new(global)?, out).await,
        Command::Client(command) => clients::run(command, &Server::new(global)?, out).await,
        // A look at a file needs nobody.
        Command::Dataset(Dataset::Import(args)) if args.preview => dataset::preview(args, out),
        Command::Dataset(command) => Box::pin(dataset::run(command, &Server::new(global)?, out)).await,
        Command::Key(command) => {
            keys::run(command, global.client.as_deref(), &Server::new(global)?, out).await
        }
        Command::Load(args) => Box::pin(load::run(args, global, out)).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_exit_codes_are_in_the_help() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains(exit::HELP), "{help}");
    }

    /// The help texts behind all commands.
    fn examples(command: &clap::Command, all: &mut Vec<String>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let help = help.replace("\\\n", " ");
        let calls = help.lines().filter_map(|line| line.find("orderwire ").map(|at| line[at..].to_owned()));
        // Sentences may speak of a command as well.
        all.extend(calls.filter(|_| help.contains("Example")));
        command.get_subcommands().for_each(|sub| examples(sub, all));
    }

    #[test]
    fn the_examples_in_the_help_are_commands() {
        let mut all = Vec::new();
        examples(&Cli::command(), &mut all);
        assert!(all.len() >= 10, "{all:?}");
        for line in all {
            let parsed = Cli::try_parse_from(line.split_whitespace());
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn programs_refuse_what_makes_no_sense() {
        for wrong in [
            "sensor",
            "sensor --station roof --interval-ms 0",
            "sensor --station roof --dataset no/name",
            "web",
            "web --folder site --port 70000",
            "broken --how sometimes",
        ] {
            let words = ["orderwire", "module"].into_iter().chain(wrong.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_supervisor_is_no_command_for_people() {
        let help = Cli::command().render_long_help().to_string();
        assert!(!help.contains("supervise"), "{help}");
        let page = String::from_utf8(manual::page().unwrap()).unwrap();
        assert!(!page.contains("supervise"), "it is on the manual page");
        let cli = Cli::try_parse_from(["orderwire", "supervise", "--x", "y", "-z", "--help"]);
        assert!(cli.is_ok(), "{cli:?}");
    }

    /// The flags of commands that have the name of a global one, whose value would be taken
    /// for both.
    fn shadows(command: &clap::Command, global: &[clap::Id], found: &mut Vec<String>) {
        for sub in command.get_subcommands() {
            let names = sub.get_arguments().map(clap::Arg::get_id).filter(|id| global.contains(id));
            found.extend(names.map(|id| format!("{} {id}", sub.get_name())));
            shadows(sub, global, found);
        }
    }

    #[test]
    fn no_flag_has_the_name_of_a_global_one() {
        let command = Cli::command();
        let global = command.get_arguments().filter(|arg| arg.is_global_set()).map(clap::Arg::get_id);
        let global: Vec<clap::Id> = global.cloned().collect();
        assert!(global.len() >= 5, "{global:?}");
        let mut found = Vec::new();
        shadows(&command, &global, &mut found);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn global_flags_stand_anywhere() {
        let cli =
            Cli::try_parse_from(["orderwire", "queue", "list", "-o", "json", "--client", "acme"]).unwrap();
        assert_eq!(cli.global.client.as_deref(), Some("acme"));
        assert_eq!(cli.global.output, crate::args::Output::Json);
    }
}

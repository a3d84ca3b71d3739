//! From a command line to an exit code.

use clap::CommandFactory as _;

use crate::args::{Cli, Command, Config};
use crate::check::Load;
use crate::error::Error;
use crate::out::Out;
use crate::server::Server;
use crate::{check, clients, dataset, dead, event, exit, keys, load, manual, queue, trace};

/// Carries out a command and returns its exit code, one of [`exit`]. What goes
/// wrong is said on stderr. `load` is how a server loads its configuration. `up` and `demo` are servers, which the binary runs.
pub async fn run(cli: Cli, load: Load) -> u8 {
    let out = Out::new(cli.global.output);
    match Box::pin(dispatch(&cli, load, out)).await {
        Ok(()) => exit::OK,
        Err(error) => error.report(out.json),
    }
}

async fn dispatch(cli: &Cli, load: Load, out: Out) -> Result<(), Error> {
    let global = &cli.global;
    match &cli.command {
        Command::Up(_) | Command::Demo(_) => Err(Error::usage("a server is started by the binary")),
        Command::Check(args) => check::run(args, global, load, out),
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
        Command::Queue(command) => Box::pin(queue::run(command, &Server::new(global)?, out)).await,
        Command::Dead(command) => Box::pin(dead::run(command, global, out)).await,
        Command::Trace(args) => trace::run(args, &Server::new(global)?, out).await,
        Command::Client(command) => clients::run(command, &Server::new(global)?, out).await,
        Command::Dataset(command) => Box::pin(dataset::run(command, &Server::new(global)?, out)).await,
        Command::Key(command) => keys::run(command, &Server::new(global)?, out).await,
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

    #[test]
    fn global_flags_stand_anywhere() {
        let cli =
            Cli::try_parse_from(["orderwire", "queue", "list", "-o", "json", "--client", "acme"]).unwrap();
        assert_eq!(cli.global.client.as_deref(), Some("acme"));
        assert_eq!(cli.global.output, crate::args::Output::Json);
    }
}

//! The `orderwire` binary: flags, signals, exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use orderwire_cli::args::{Cli, Command, Global, Up};
use orderwire_cli::{Config, Local, RenderRequest, RuleRequest, Stop, demo, exit};
use orderwire_runtime::{Error, Options, Running};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What commands do on this machine with the server's own code.
const LOCAL: Local = Local {
    load: orderwire_runtime::load,
    lint: orderwire_runtime::lint,
    render,
    try_rules,
    warnings: orderwire_runtime::warnings,
    try_broker: |config| Box::pin(orderwire_runtime::try_broker(config)),
    try_store: |config| Box::pin(orderwire_runtime::try_store(config)),
    try_cache: |config| Box::pin(orderwire_runtime::try_cache(config)),
};

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|command| command == "supervise") {
        // Before anything starts a thread.
        return orderwire_runtime::supervise();
    }
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("orderwire: cannot start threads: {error}");
            return ExitCode::from(exit::FAILED);
        }
    };
    let code = runtime.block_on(async {
        match cli.command {
            Command::Up(up) => server(&cli.global, &up, false).await,
            Command::Demo(up) => server(&cli.global, &up, true).await,
            _ => orderwire_cli::run(cli, LOCAL).await,
        }
    });
    // Threads that read a terminal or a slow disk must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    ExitCode::from(code)
}

fn render(config: &Config, request: &RenderRequest) -> Result<String, Vec<String>> {
    let RenderRequest { product, client, environment, name, archtype, hardware, namespace, parameters } =
        request.clone();
    let client = client.as_deref().unwrap_or("default").parse();
    let client = client.map_err(|invalid: orderwire_runtime::InvalidName| vec![invalid.to_string()])?;
    let request = orderwire_runtime::RenderRequest {
        client,
        environment,
        name,
        archtype,
        hardware,
        namespace,
        parameters,
    };
    orderwire_runtime::render(config, &product, &request)
}

fn try_rules(config: &Config, request: &RuleRequest) -> Result<String, String> {
    let RuleRequest { rule, event, event_type, client } = request.clone();
    orderwire_runtime::try_rules(config, &orderwire_runtime::RuleRequest { rule, event, event_type, client })
}

async fn server(global: &Global, up: &Up, with_demo: bool) -> u8 {
    let options = Options {
        config: up.config.clone(),
        builtin: (with_demo && up.config.is_none()).then_some(("the sample configuration", demo::CONFIG)),
        data: global.data.clone(),
        listen: up.listen.clone(),
    };
    match run(options, with_demo).await {
        Ok(()) => exit::OK,
        Err(error) => {
            eprintln!("orderwire: {error}");
            if error.is_configuration() { exit::INVALID } else { exit::FAILED }
        }
    }
}

/// Serves until a signal or a fault, then drains.
async fn run(options: Options, with_demo: bool) -> Result<(), Error> {
    let mut stop = Stop::listen().map_err(|error| Error::failed(error.to_string()))?;
    let mut running = tokio::select! {
        running = orderwire_runtime::start(options) => running?,
        () = stop.next() => return Ok(()),
    };
    let served = tokio::select! {
        served = serve(&mut running, with_demo) => Some(served),
        () = stop.next() => None,
    };
    // A second signal means now.
    tokio::select! {
        drained = running.drain() => drained?,
        () = stop.next() => return Err(Error::failed("stopped by a second signal before everything was drained".to_owned())),
    }
    served.map_or(Ok(()), Err)
}

/// Ends with a fault only.
async fn serve(running: &mut Running, with_demo: bool) -> Error {
    if with_demo {
        let (url, mut stdout) = (running.url(), std::io::stdout());
        if let Err(error) = demo::tour(&url, running.admin_key(), running.data(), &mut stdout).await {
            return Error::failed(format!("the demo did not go through: {error}"));
        }
    } else {
        announce(running);
    }
    running.fault().await
}

/// The one line on stdout that scripts wait for.
fn announce(running: &Running) {
    let line = format!("{{\"msg\":\"ready\",\"listen\":\"{}\"}}", running.address());
    // A reader that has gone wants no line.
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).ok();
}

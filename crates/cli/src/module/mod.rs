//! The programs of the products that ship. A release runs them as processes:
//! they speak JSON lines on stdout and end cleanly on SIGTERM.

mod broken;
mod sensor;
mod web;

use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::Module;
use crate::error::Error;
use crate::exit;
use crate::out::Out;

/// Runs a program to its end and gives its exit code.
pub(crate) async fn run(program: &Module, out: Out) -> u8 {
    let outcome = match program {
        Module::Sensor(args) => Box::pin(sensor::run(args, say)).await,
        Module::Web(args) => web::run(args, say).await,
        Module::Broken { how } => broken::run(*how, say).await,
    };
    match outcome {
        Ok(code) => code,
        Err(error) => error.report(out.json),
    }
}

/// One JSON line on stdout.
fn say(line: &Value) -> Result<(), Error> {
    Out { json: true }.json(line)
}

/// SIGTERM and SIGINT.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> Result<Self, Error> {
        let on =
            |kind| signal(kind).map_err(|error| Error::failed(format!("cannot listen for signals: {error}")));
        Ok(Self { terminate: on(SignalKind::terminate())?, interrupt: on(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The exit code of a program that ended as it should.
const FINE: u8 = exit::OK;

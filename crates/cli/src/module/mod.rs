//! The programs of the products that ship. A release runs them as processes:
//! they speak JSON lines on stdout and end cleanly on SIGTERM.

mod broken;
mod sensor;
mod web;

use serde_json::Value;

use crate::args::Module;
use crate::error::Error;
use crate::exit;
use crate::out::Out;
use crate::stop::Stop;

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

/// The exit code of a program that ended as it should.
const FINE: u8 = exit::OK;

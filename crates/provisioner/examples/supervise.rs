//! The supervisor as a program, for the tests of the target `process`.

use std::process::ExitCode;

fn main() -> ExitCode {
    orderwire_provisioner::targets::process::supervise()
}

//! The `orderwire` binary: flags, signals, exit code.

fn main() {}

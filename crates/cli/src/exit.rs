//! Exit codes: what a script may count on.

/// Done.
pub const OK: u8 = 0;
/// Failed for a reason that none of the others names.
pub const FAILED: u8 = 1;
/// The command line makes no sense; also clap's code.
pub const USAGE: u8 = 2;
/// What was asked for does not exist (404).
pub const NOT_FOUND: u8 = 3;
/// No key, a wrong one, or one without the right (401, 403).
pub const NOT_ALLOWED: u8 = 4;
/// The state of what is there forbids it (409, 412).
pub const CONFLICT: u8 = 5;
/// No server answers, or it cannot do this now (429, 503).
pub const UNAVAILABLE: u8 = 6;
/// The input is wrong: a body, a row, a configuration (400, 413, 415, 422, 428).
pub const INVALID: u8 = 7;

/// The codes as `--help` shows them.
pub const HELP: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong usage of the command line
  3  not found
  4  not allowed: no key, a wrong one, or one without the right
  5  conflict with what is there
  6  no server answers, or it cannot do this now
  7  invalid input: an event, a row, a configuration";

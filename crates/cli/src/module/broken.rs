//! A program that misbehaves in a chosen way.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{FINE, Stop};
use crate::args::How;
use crate::error::Error;

/// The exit code of `exits`.
const CODE: u8 = 3;
/// How many processes `leaves-children` leaves.
const CHILDREN: usize = 2;
/// They end by themselves, later than anybody waits.
const DETACHED_MAX: Duration = Duration::from_secs(1_000);

pub(super) async fn run(how: How, say: impl Fn(&Value) -> Result<(), Error>) -> Result<u8, Error> {
    let mut stop = Stop::listen()?;
    match how {
        How::Exits => {
            eprintln!("the disk of this module is on fire");
            return Ok(CODE);
        }
        How::NeverReady => say(&json!({ "msg": "warming up" }))?,
        How::Works => say(&json!({ "msg": "ready" }))?,
        How::LeavesChildren => {
            for _ in 0..CHILDREN {
                let pid = detach()?;
                say(&json!({ "msg": "child detached", "pid": pid }))?;
            }
            say(&json!({ "msg": "ready" }))?;
        }
        How::IgnoresTerm => {
            say(&json!({ "msg": "ready" }))?;
            loop {
                stop.next().await;
                say(&json!({ "msg": "signal ignored" }))?;
            }
        }
        How::Detached => {
            // A session of its own: no signal to the group reaches it.
            rustix::process::setsid()
                .map_err(|error| Error::failed(format!("cannot begin a session: {error}")))?;
            tokio::time::sleep(DETACHED_MAX).await;
            return Ok(FINE);
        }
    }
    stop.next().await;
    Ok(FINE)
}

/// Starts this program again, to leave the process group by itself.
fn detach() -> Result<u32, Error> {
    let failed = |error: std::io::Error| Error::failed(format!("cannot start a child: {error}"));
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(program);
    command.args(["module", "broken", "--how", "detached"]);
    // Nobody's output, so that no pipe shows that it is still there.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.spawn().map_err(failed)?.id())
}

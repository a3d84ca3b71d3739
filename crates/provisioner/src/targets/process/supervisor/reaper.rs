//! Every process that ends below the supervisor is reaped here: those that it
//! started, and those that became its own.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rustix::process::{WaitOptions, WaitStatus};
use tokio::sync::oneshot;

#[derive(Default)]
pub(super) struct Reaper {
    waiting: Mutex<HashMap<i32, oneshot::Sender<WaitStatus>>>,
}

impl Reaper {
    /// How this process ends. To be called without an await since it was started: what
    /// is reaped meanwhile is forgotten.
    pub(super) fn watch(&self, pid: i32) -> oneshot::Receiver<WaitStatus> {
        let (ended, watch) = oneshot::channel();
        self.lock().insert(pid, ended);
        watch
    }

    /// Reaps whatever has ended. Does not block.
    pub(super) fn reap(&self) {
        // An error is that there is no child.
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if let Some(ended) = self.lock().remove(&pid.as_raw_nonzero().get()) {
                // Nobody waits for it when everything is being ended.
                ended.send(status).ok();
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<i32, oneshot::Sender<WaitStatus>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a process ended, in words that follow its name.
pub(super) fn in_words(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}{}", name(signal)),
        (None, None) => "ended".to_owned(),
    }
}

fn name(signal: i32) -> &'static str {
    match signal {
        2 => " (SIGINT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

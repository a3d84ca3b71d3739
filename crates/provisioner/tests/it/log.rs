//! What is logged on the thread of a test.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::subscriber::DefaultGuard;

/// Keeps what is logged, as long as it is there.
pub(crate) struct Log {
    kept: Kept,
    _here: DefaultGuard,
}

impl Log {
    /// From now on, on this thread.
    pub(crate) fn here() -> Self {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
        Self { kept, _here: tracing::subscriber::set_default(subscriber) }
    }

    /// What was logged so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.kept.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

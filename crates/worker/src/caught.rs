//! Handlers that panic.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;

/// What a handler's future came to, or why it panicked.
///
/// Unwind safety: a handler is used again after a panic, as the contract of
/// the handler traits says: a call may end at any await.
pub(crate) async fn catch_panic<T>(call: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(call).catch_unwind().await.map_err(|panic| cause(panic.as_ref()))
}

fn cause(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the handler panicked: {}", text.unwrap_or("no message"))
}

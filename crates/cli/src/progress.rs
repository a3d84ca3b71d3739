//! Progress bars on stderr, hidden where nobody looks.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over a known number of bytes, rows or letters.
pub(crate) fn bar(visible: bool, unit: Unit, total: u64, what: &'static str) -> ProgressBar {
    // Draws nothing when stderr is no terminal.
    let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let template = match unit {
        Unit::Bytes => "{msg:>10} {bar:40} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
        Unit::Rows => "{msg:>10} {bar:40} {human_pos}/{human_len} rows {per_sec} {eta}",
        Unit::Letters => "{msg:>10} {bar:40} {human_pos}/{human_len} letters {per_sec} {eta}",
    };
    let style = ProgressStyle::with_template(template).expect("the template is sound");
    let bar = ProgressBar::with_draw_target(Some(total), target);
    bar.with_style(style).with_message(what)
}

/// What a bar counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    Bytes,
    Rows,
    Letters,
}

//! Progress bars: on a terminal, and never beside JSON.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::context::Context;

/// A bar that counts to `length` on standard error, or one that shows nothing where nobody looks.
pub(crate) fn bar(context: &Context, what: &'static str, length: u64) -> ProgressBar {
    let shown = !context.json() && io::stderr().is_terminal();
    let target = if shown {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {eta}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(length), target);
    bar.with_style(style).with_message(what)
}

/// A sign of life on standard error for work whose end is not known.
pub(crate) fn spinner(context: &Context, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {spinner} {elapsed}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    bar(context, what, 0).with_style(style)
}

//! What the terminal is shown: lines, progress bars, number formats.
//!
//! Invariant: nobody's closed pipe stops a command. `println!` panics when its reader has gone (`proofmill ops status | head -1`);
//! [`say!`] does not, so a payment that was begun is finished, and a coordinator outlives the terminal that started it. The
//! lints of `main` refuse `println!` and `eprintln!` everywhere else.

use std::{
    fmt,
    io::{self, Write},
    sync::Mutex,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use prover::progress::Progress;

pub use client::api::codec::hex_text as hex;

/// As `println!`, but a closed stdout is no error.
macro_rules! say {
    () => { $crate::ui::line(std::io::stdout(), format_args!("")) };
    ($($part:tt)*) => { $crate::ui::line(std::io::stdout(), format_args!($($part)*)) };
}

/// As `eprintln!`, but a closed stderr is no error.
macro_rules! say_error {
    ($($part:tt)*) => { $crate::ui::line(std::io::stderr(), format_args!($($part)*)) };
}

/// Writes a line, in one piece, and forgets about a reader that has gone: there is nobody left to tell.
pub fn line(mut to: impl Write, text: fmt::Arguments<'_>) {
    let mut line = fmt::format(text);
    line.push('\n');
    let written: io::Result<()> = to.write_all(line.as_bytes()).and_then(|()| to.flush());
    drop(written);
}

/// Shows the stages of a long computation as one bar each.
#[derive(Default)]
pub struct Bar(Mutex<Option<ProgressBar>>);

impl Progress for Bar {
    fn begin(&self, stage: &'static str, total: u64) {
        let bar = ProgressBar::new(total);
        if let Ok(style) = ProgressStyle::with_template("  {msg:<28} {bar:32} {percent:>3}% {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(stage);
        if let Ok(mut current) = self.0.lock()
            && let Some(done) = current.replace(bar)
        {
            done.finish();
        }
    }

    fn advance(&self, steps: u64) {
        if let Ok(current) = self.0.lock()
            && let Some(bar) = current.as_ref()
        {
            bar.inc(steps);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Ok(current) = self.0.get_mut()
            && let Some(bar) = current.take()
        {
            bar.finish();
        }
    }
}

/// A line that turns until it is done; plain lines where the output is no terminal.
pub struct Spinner {
    bar: ProgressBar,
    started: std::time::Instant,
}

impl Spinner {
    pub fn new(message: impl Into<String>) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.set_message(message.into());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, started: std::time::Instant::now() }
    }

    pub fn say(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
    }

    pub fn done(self, message: impl AsRef<str>) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.bar.finish_and_clear();
        say!("  ✓ {} ({seconds:.1} s)", message.as_ref());
    }
}

/// The first and last digits of a long hash.
pub fn short_hash(bytes: &[u8]) -> String {
    let text = hex::encode(bytes);
    if text.len() <= 16 {
        format!("0x{text}")
    } else {
        format!("0x{}…{}", &text[..8], &text[text.len() - 4..])
    }
}

//! What a person sees while something takes long: a spinner on a terminal, a line now and then elsewhere. All of it on
//! stderr, so that stdout holds results only.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

/// How often a log that is no terminal gets a line.
const PLAIN_INTERVAL: Duration = Duration::from_secs(15);

/// One thing that takes long.
pub struct Progress {
    title: String,
    detail: String,
    started: Instant,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Shows that something begins.
    pub fn start(title: impl Into<String>) -> Self {
        let title = title.into();
        let now = Instant::now();
        let bar = stderr().is_terminal().then(|| spinner(&title));
        if bar.is_none() {
            eprintln!("{title}…");
        }
        Self { title, detail: String::new(), started: now, last_line: now, bar }
    }

    /// Says how far it is.
    pub fn detail(&mut self, detail: impl Into<String>) {
        self.detail = detail.into();
        if let Some(bar) = &self.bar {
            bar.set_message(self.detail.clone());
        }
    }

    /// To be called every second or so: shows that it still goes on.
    pub fn tick(&mut self) {
        if self.bar.is_none() && self.last_line.elapsed() >= PLAIN_INTERVAL {
            self.last_line = Instant::now();
            eprintln!("  {} {}", brief(self.started.elapsed()), self.detail);
        }
    }

    /// Shows that it is done.
    pub fn done(self, result: &str) {
        self.end("✓", result);
    }

    /// Shows that it failed. Why is for the caller to say.
    pub fn failed(self) {
        self.end("✗", "failed");
    }

    fn end(self, mark: &str, result: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{mark} {}: {result} ({})", self.title, brief(self.started.elapsed()));
    }
}

fn spinner(title: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    // A template that does not parse would only cost its looks.
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}") {
        bar.set_style(style);
    }
    bar.set_prefix(title.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// A duration for people: `3.2 s`, `4 min 05 s`.
pub fn brief(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_brief() {
        assert_eq!(brief(Duration::from_millis(3240)), "3.2 s");
        assert_eq!(brief(Duration::from_secs(42)), "42 s");
        assert_eq!(brief(Duration::from_secs(245)), "4 min 05 s");
    }
}

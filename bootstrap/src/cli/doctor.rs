//! `skein doctor`: what is installed, what is missing and why it matters.

use super::checkout::Checkout;
use super::tools::{self, Part, Purpose};
use clap::Args;
use comfy_table::{Cell, Color, Table};
use std::process::ExitCode;

/// Say what is installed, what is missing and why it matters
///
/// Ends with 1 when something is missing that `skein up` needs. `skein up` and `skein test` install what they need
/// themselves where they may use apt.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Print JSON: {"ok", "parts": [{"name", "ok", "needed_for", "version", "why", "fix"}]}
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let checkout = Checkout::find()?;
        let parts = tools::check(&checkout).await?;
        let missing: Vec<&Part> =
            parts.iter().filter(|part| !part.ok && part.needed_for <= Purpose::Test).collect();
        let ok = missing.iter().all(|part| part.needed_for != Purpose::Up);
        if self.json {
            println!("{:#}", serde_json::json!({ "ok": ok, "parts": parts }));
        } else {
            println!("{}", table(&parts));
            println!("{}", verdict(&missing));
        }
        Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn table(parts: &[Part]) -> Table {
    let mut table = super::table(["", "what", "version", "for", "why it matters", "what brings it"]);
    for part in parts {
        let (mark, color) = match (part.ok, part.needed_for) {
            (true, _) => ("✓", Color::Green),
            (false, Purpose::Up) => ("✗", Color::Red),
            (false, Purpose::Test) => ("✗", Color::Yellow),
            (false, Purpose::Optional | Purpose::Built) => ("–", Color::Grey),
        };
        let purpose = match part.needed_for {
            Purpose::Up => "up",
            Purpose::Test => "test",
            Purpose::Optional => "optional",
            Purpose::Built => "the build makes it",
        };
        let fix = if part.ok { "" } else { &part.fix };
        table.add_row([
            Cell::new(mark).fg(color),
            Cell::new(&part.name),
            Cell::new(part.version.as_deref().unwrap_or_default()),
            Cell::new(purpose),
            Cell::new(&part.why),
            Cell::new(fix),
        ]);
    }
    table
}

fn verdict(missing: &[&Part]) -> String {
    let Some(first) = missing.iter().map(|part| part.needed_for).min() else {
        return "Everything is there for `cargo skein up` and `cargo skein test`.".to_owned();
    };
    let whose = if first == Purpose::Up { "`cargo skein up` needs" } else { "Only `cargo skein test` needs" };
    let names = missing.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join(", ");
    format!(
        "{whose} what is missing: {names}. It installs it where it may; by hand: {}",
        tools::one_fix(missing)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, ok: bool, needed_for: Purpose) -> Part {
        let (why, fix) = ("a reason".to_owned(), format!("apt-get install -y {name}"));
        Part { name: name.to_owned(), ok, needed_for, version: None, why, fix }
    }

    #[test]
    fn the_table_shows_fixes_of_what_is_missing_only() {
        let shown =
            table(&[part("libuv", true, Purpose::Up), part("chromium", false, Purpose::Test)]).to_string();
        assert!(shown.contains("apt-get install -y chromium"), "{shown}");
        assert!(!shown.contains("apt-get install -y libuv"), "{shown}");
    }

    #[test]
    fn the_verdict_says_who_needs_it() {
        assert!(verdict(&[]).starts_with("Everything"));
        let (up, test) = (part("npm", false, Purpose::Up), part("chromium", false, Purpose::Test));
        assert!(verdict(&[&test]).starts_with("Only `cargo skein test`"));
        assert!(verdict(&[&up, &test]).contains("install -y npm chromium"));
    }
}

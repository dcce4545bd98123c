//! What is asked for, checked before anything runs.

use super::demand;
use super::engine::Setting;
use super::fleet::Spec;
use super::scaler;
use crate::simulate::compare::{Problem, within};
use std::time::Duration;

/// How many reference streams a machine carries where nothing else is asked for: about one core's worth.
const STREAMS: u64 = 500;
/// The most machines where nothing else is asked for.
const MOST: u32 = 100;
const MOST_STREAMS: u64 = 1_000_000;
const LONGEST_BOOT: f64 = 3_600.0;
const MOST_PRICE: f64 = 1_000_000.0;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The most machines.
    pub nodes: Option<u32>,
    /// How many reference streams one carries.
    pub streams: Option<u64>,
    /// How many seconds half of them take to boot at most.
    pub boot_s: f64,
    /// The share of launches that fail.
    pub failures: f64,
    /// What a machine costs an hour.
    pub price: f64,
    /// The seed.
    pub seed: u64,
}

impl Asked {
    /// The setting for a day.
    ///
    /// # Errors
    /// When there is no such day, or a number is too small or too large.
    pub fn setting(&self, day: &str) -> Result<Setting, Problem> {
        let day = demand::find(day).ok_or_else(|| Problem::UnknownDay(day.to_owned()))?;
        let streams = self.streams.unwrap_or(STREAMS);
        within("--streams-per-worker", streams, MOST_STREAMS)?;
        let most = self.nodes.unwrap_or(MOST);
        within("--nodes", most.into(), 1_000)?;
        between("--boot-s", self.boot_s, LONGEST_BOOT)?;
        between("--launch-failures", self.failures, 1.0)?;
        between("--price", self.price, MOST_PRICE)?;
        let spec = Spec {
            streams: u32::try_from(streams).unwrap_or(u32::MAX),
            price: self.price,
            boot: Duration::from_secs_f64(self.boot_s),
            failures: self.failures,
            most,
        };
        Ok(Setting { day, seed: self.seed, spec })
    }
}

fn between(option: &'static str, given: f64, most: f64) -> Result<(), Problem> {
    if (0.0..=most).contains(&given) {
        return Ok(());
    }
    Err(Problem::NotBetween { option, given, most })
}

/// The scalers of these names, each once; `all` is all of them.
///
/// # Errors
/// When there is none of a name.
pub fn choose(names: &[String]) -> Result<Vec<&'static scaler::Known>, Problem> {
    let mut chosen: Vec<&'static scaler::Known> = Vec::new();
    for name in names {
        let found: &[scaler::Known] = match scaler::find(name) {
            Some(known) => std::slice::from_ref(known),
            None if name == "all" => scaler::ALL,
            None => return Err(Problem::UnknownScaler(name.clone())),
        };
        for known in found {
            if chosen.iter().all(|other| other.name != known.name) {
                chosen.push(known);
            }
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked =
        Asked { nodes: None, streams: None, boot_s: 60.0, failures: 0.02, price: 0.2, seed: 1 };

    #[test]
    fn what_is_wrong_is_named() {
        let error = |asked: Asked, day: &str| asked.setting(day).expect_err("is wrong").to_string();
        assert!(
            error(ASKED, "mixed").starts_with("unknown workload `mixed` for --machines; known are day, ")
        );
        let failures = Asked { failures: 1.5, ..ASKED };
        assert_eq!(error(failures, "day"), "--launch-failures is 1.5, but has to be within 0 and 1");
        assert!(error(Asked { boot_s: f64::NAN, ..ASKED }, "day").starts_with("--boot-s is NaN"));
        assert!(error(Asked { streams: Some(0), ..ASKED }, "day").starts_with("--streams-per-worker is 0"));
        let error = choose(&["best".to_owned()]).expect_err("is unknown").to_string();
        assert!(error.starts_with("unknown policy `best` for --machines; known are skein, "), "{error}");
    }

    #[test]
    fn scalers_are_chosen_once() {
        let names = ["jitsi".to_owned(), "all".to_owned()];
        let chosen = choose(&names).expect("known");
        assert_eq!(chosen.len(), scaler::ALL.len());
        assert_eq!(chosen.first().map(|known| known.name), Some("jitsi"));
    }
}

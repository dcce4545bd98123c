//! What a node's workers and its network carry, out of the configuration and what was measured.

use super::{ConfigError, Media, wrong};
use crate::calibration::{Calibration, LOCAL, Machine};
use skein_proto::capacity::REFERENCE;

/// How many streams a worker is taken to carry where nobody has said or measured it: what mediasoup's documentation
/// says of a core.
pub const DEFAULT_STREAMS_PER_WORKER: u32 = 500;

/// What a node carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Packets that one worker sends each second.
    pub packets_per_worker: u64,
    /// Where that is from.
    pub packets_from: BudgetFrom,
    /// Bits that the node sends into the network each second.
    pub node_bits: u64,
    /// Where that is from.
    pub bits_from: BudgetFrom,
}

/// Where a figure is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetFrom {
    /// The configuration's keys.
    Settings,
    /// The file that `media.calibration` names.
    Calibration,
    /// Nobody said or measured it: [`DEFAULT_STREAMS_PER_WORKER`].
    Assumed,
}

impl Media {
    /// How many streams a worker carries where that is what counts: as set, or [`DEFAULT_STREAMS_PER_WORKER`].
    pub fn streams(&self) -> u32 {
        self.streams_per_worker.unwrap_or(DEFAULT_STREAMS_PER_WORKER)
    }

    /// What a node with so many workers carries on a machine of this kind; `None` is a machine that no cloud names.
    ///
    /// `media.packets_per_worker` and `media.egress_bits` come first, then `media.streams_per_worker` where it is set,
    /// then the calibration file's entry for the machine, and last the default number of streams. A kind that the file
    /// does not have is not taken for another one.
    ///
    /// # Errors
    /// When `media.calibration` names a file that is not there or is none.
    pub fn budget(&self, instance_type: Option<&str>, workers: usize) -> Result<Budget, ConfigError> {
        let mistake =
            |error: crate::calibration::CalibrationError| wrong("media.calibration", error.to_string());
        let measured = match &self.calibration {
            Some(path) => {
                let kind = instance_type.unwrap_or(LOCAL);
                Calibration::read(path).and_then(|file| file.machine(kind)).map_err(mistake)?
            }
            None => None,
        };
        Ok(self.budget_of(measured.as_ref(), workers))
    }

    fn budget_of(&self, measured: Option<&Machine>, workers: usize) -> Budget {
        // The number of streams, where it is set, is both budgets.
        let set = self.streams_per_worker.map(u64::from);
        let assumed = u64::from(DEFAULT_STREAMS_PER_WORKER);
        let packets = |streams: u64| streams.saturating_mul(REFERENCE.packets);
        let bits = |streams: u64| streams.saturating_mul(workers as u64).saturating_mul(REFERENCE.bits);
        let (packets_per_worker, packets_from) = first(
            self.packets_per_worker.or(set.map(packets)),
            measured.map(|machine| machine.packets_per_worker),
            packets(assumed),
        );
        let (node_bits, bits_from) = first(
            self.egress_bits.or(set.map(bits)),
            measured.map(|machine| machine.bits(workers)),
            bits(assumed),
        );
        Budget { packets_per_worker, packets_from, node_bits, bits_from }
    }
}

fn first(set: Option<u64>, measured: Option<u64>, assumed: u64) -> (u64, BudgetFrom) {
    match (set, measured) {
        (Some(set), _) => (set, BudgetFrom::Settings),
        (None, Some(measured)) => (measured, BudgetFrom::Calibration),
        (None, None) => (assumed, BudgetFrom::Assumed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::BitsFrom;

    fn file(folder: &tempfile::TempDir) -> std::path::PathBuf {
        let path = folder.path().join("calibration.toml");
        let mut calibration = Calibration::read_or_new(&path).expect("begins");
        for (kind, packets_per_worker, node_bits, bits_from) in
            [(LOCAL, 50_000, 1, BitsFrom::Packets), ("c7i.large", 90_000, 2_000_000_000, BitsFrom::Interface)]
        {
            let (measured, mediasoup) = (String::new(), String::new());
            let machine =
                Machine { packets_per_worker, node_bits, bits_from, workers: 2, measured, mediasoup };
            calibration.set(kind, &machine).expect("sets");
        }
        calibration.write().expect("writes");
        path
    }

    #[track_caller]
    fn is(media: &Media, kind: Option<&str>, workers: usize, packets: u64, bits: u64) {
        let budget = media.budget(kind, workers).expect("a budget");
        assert_eq!((budget.packets_per_worker, budget.node_bits), (packets, bits), "{budget:?}");
    }

    #[test]
    fn without_a_word_it_is_the_default_number_of_streams() {
        let media = Media::default();
        is(&media, None, 2, 500 * 170, 2 * 500 * 1_500_000);
        is(&media, Some("c7i.large"), 1, 500 * 170, 500 * 1_500_000);
        assert_eq!(media.budget(None, 1).expect("a budget").packets_from, BudgetFrom::Assumed);
    }

    #[test]
    fn what_was_measured_goes_by_the_kind_of_machine() {
        let folder = tempfile::tempdir().expect("a folder");
        let media = Media { calibration: Some(file(&folder)), ..Media::default() };
        is(&media, Some("c7i.large"), 8, 90_000, 2_000_000_000);
        is(&media, None, 4, 50_000, 4 * 50_000 * 8_800);
        // Another machine's figures would be worse than the default.
        is(&media, Some("m5.large"), 2, 500 * 170, 2 * 500 * 1_500_000);
        assert_eq!(media.budget(None, 1).expect("a budget").bits_from, BudgetFrom::Calibration);
    }

    #[test]
    fn what_is_set_wins() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut media = Media { calibration: Some(file(&folder)), ..Media::default() };
        media.streams_per_worker = Some(4);
        is(&media, Some("c7i.large"), 2, 4 * 170, 2 * 4 * 1_500_000);
        media.packets_per_worker = Some(1_000);
        is(&media, Some("c7i.large"), 2, 1_000, 2 * 4 * 1_500_000);
        media.streams_per_worker = None;
        is(&media, Some("c7i.large"), 2, 1_000, 2_000_000_000);
        media.egress_bits = Some(7);
        is(&media, Some("c7i.large"), 2, 1_000, 7);
        assert_eq!(media.budget(None, 1).expect("a budget").bits_from, BudgetFrom::Settings);
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let media = Media { calibration: Some("/nowhere/calibration.toml".into()), ..Media::default() };
        let error = media.budget(None, 1).expect_err("is not there").to_string();
        assert!(error.contains("media.calibration") && error.contains("/nowhere"), "{error}");
    }
}

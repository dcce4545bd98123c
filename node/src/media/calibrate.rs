//! What one worker of this machine carries, measured: real RTP packets through real workers, over SRTP, on loopback.
//!
//! ```text
//! load, a thread       source, a worker      tested, a worker      sink, a worker
//! reference streams -> takes them in the  -> decrypts, encrypts -> decrypts, counts,
//! in the clear         clear, encrypts       sends each once       reports what arrives
//! ```
//!
//! What is counted is the CPU time of the tested worker's thread, not what comes through in a second: the others may take
//! as much of the machine as they need, as long as all packets arrive. Packets for each second of CPU time, times
//! [`UTILISATION`], is what a worker carries. Each packet is received once and sent once: the dearest ratio, as
//! [`skein_proto::capacity`] has it.
//!
//! Covered: SRTP (AES-256-GCM) both ways, ten streams to a transport, header extensions, transport-wide congestion
//! control with its feedback and estimator, RTCP reports, keeping what may have to be repeated, and the kernel's work
//! for sockets. On loopback the kernel does the receiver's part of the work while the sender sends, so the tested worker
//! does the sink's; a network card's driver costs less or more.
//!
//! Not covered: ICE and DTLS handshakes, TCP, packets that are repeated, switching between simulcast layers, audio's
//! smaller packets (dearer by the bit, not by the packet), data channels, and workers that slow each other down: two on
//! the two threads of one core, as the vCPUs of most EC2 instances are, carry less than twice what one does. The other
//! workers of the chain make some of that felt. The share that [`UTILISATION`] leaves is for all of these.

mod chain;
mod load;

pub use chain::{Links, ROOM};

use super::MediaError;
use super::thread::cpu_time_of_others;
use chain::Chain;
use load::Load;
use serde::Serialize;
use std::time::{Duration, Instant};

/// What share of a core a worker is planned to use.
pub const UTILISATION: f64 = 0.8;

/// How many streams each step has. A step that loses packets or fills the worker's core ends it.
pub const STEPS: [usize; 6] = [10, 20, 40, 80, 160, 320];

/// More loss than this ends it.
pub const LOSS_LIMIT: f64 = 0.01;

/// Each step is measured in so many parts, and the median counts: what disturbs one part alone changes nothing.
pub const SLICES: usize = 3;

/// Above this share of all cores for other programs a measurement says too little of the machine.
pub const BUSY: f64 = 0.1;

/// How long a step runs before it is measured: some key frames, and the time in which workers find out that streams run.
const WARM_UP: Duration = Duration::from_millis(1_500);

/// How long packets that are under way may take to arrive.
const DRAIN: Duration = Duration::from_millis(300);

/// Why it cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// A worker refused, or died.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The load cannot be made.
    #[error("the load: {0}")]
    Load(std::io::Error),
    /// The kernel does not say what a thread uses.
    #[error("the CPU time of the worker's thread cannot be read from /proc")]
    NoCpuTime,
    /// Even the smallest load was not delivered.
    #[error(
        "of {streams} streams {percent:.1} % of the packets were lost; the machine has no time for this: try again when it is less busy"
    )]
    Lost {
        /// How many streams there were.
        streams: usize,
        /// Lost packets of all that were sent.
        percent: f64,
    },
}

/// What a step measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Step {
    /// How many streams came in; each went out as often as there were consumers.
    pub streams: usize,
    /// Packets that should have come out of the tested worker.
    pub sent: u64,
    /// Packets that arrived at the sink.
    pub delivered: u64,
    /// Bytes that the tested worker sent on top, to find out how much the way carries. Their cost is in the figure.
    pub padding_bytes: u64,
    /// How long packets were sent.
    pub seconds: f64,
    /// Share of a core that the tested worker's thread used meanwhile.
    pub cpu: f64,
    /// The same of the source's and the sink's thread.
    pub others_cpu: [f64; 2],
    /// Share of all cores that other programs used meanwhile. More than [`BUSY`] makes all figures worse than they are.
    pub other_programs: f64,
    /// Packets that the tested worker sent for each second of its CPU time: the median of [`SLICES`] parts of the step.
    pub packets_per_cpu_second: f64,
}

impl Step {
    /// The share of packets that did not arrive.
    pub fn loss(&self) -> f64 {
        if self.sent == 0 { 1.0 } else { self.sent.saturating_sub(self.delivered) as f64 / self.sent as f64 }
    }

    fn is_good(&self) -> bool {
        self.loss() <= LOSS_LIMIT && self.packets_per_cpu_second.is_finite()
    }
}

/// What a worker carries, and how that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Packets that a worker may send each second.
    pub packets_per_worker: u64,
    /// The step that says so: the last one that was delivered.
    pub packets_per_cpu_second: f64,
    /// All steps.
    pub steps: Vec<Step>,
}

impl Report {
    /// The largest share of all cores that other programs used during a step.
    pub fn other_programs(&self) -> f64 {
        self.steps.iter().map(|step| step.other_programs).fold(0.0, f64::max)
    }
}

/// Measures. All steps together send for about `time`. `progress` hears before each step how many streams it has, and
/// after it what it measured.
///
/// # Errors
/// When a worker cannot be started, or not even the first step was delivered.
pub async fn measure(
    links: Links,
    time: Duration,
    mut progress: impl FnMut(usize, Option<&Step>),
) -> Result<Report, CalibrateError> {
    let mut chain = Chain::start(links).await?;
    let load = Load::start().map_err(CalibrateError::Load)?;
    let each = time / STEPS.len() as u32;
    let mut steps: Vec<Step> = Vec::new();
    for streams in STEPS {
        progress(streams, None);
        chain.grow(streams, &load).await?;
        let step = step(&chain, &load, links, streams, each).await?;
        progress(streams, Some(&step));
        steps.push(step);
        // Twice as many do not fit.
        if !step.is_good() || step.cpu > UTILISATION / 2.0 * 1.1 {
            break;
        }
    }
    conclude(steps)
}

async fn step(
    chain: &Chain,
    load: &Load,
    links: Links,
    streams: usize,
    time: Duration,
) -> Result<Step, CalibrateError> {
    load.set_active(streams);
    tokio::time::sleep(WARM_UP).await;
    // Packets are counted while none is under way, so that both ends mean the same ones.
    load.set_active(0);
    tokio::time::sleep(DRAIN).await;
    let (sent, delivered, padding) = (load.sent(), chain.delivered().await?, chain.padding().await?);
    let (cpu, others) = (chain.cpu_time()?, chain.others_cpu_time()?);
    let others_before = cpu_time_of_others();
    let started = Instant::now();
    let mut slices = Slices::begin(cpu, sent);
    load.set_active(streams);
    for _ in 0..SLICES {
        tokio::time::sleep(time / SLICES as u32).await;
        slices.end_one(chain.cpu_time()?, load.sent());
    }
    load.set_active(0);
    let seconds = started.elapsed().as_secs_f64();
    let other_programs = match (others_before, cpu_time_of_others()) {
        (Some(before), Some(after)) => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
            (after.saturating_sub(before).as_secs_f64() / seconds / cores).min(1.0)
        }
        _ => 0.0,
    };
    tokio::time::sleep(DRAIN).await;
    // Before the counts: asking for them takes the worker's time too.
    let cpu = chain.cpu_time()?.saturating_sub(cpu).as_secs_f64();
    let [source, sink] = chain.others_cpu_time()?;
    let others = [source.saturating_sub(others[0]), sink.saturating_sub(others[1])];
    let sent = load.sent().saturating_sub(sent) * links.consumers as u64;
    let delivered = chain.delivered().await?.saturating_sub(delivered);
    // A packet that was repeated without need counts once.
    let arrived = if sent == 0 { 0.0 } else { (delivered as f64 / sent as f64).min(1.0) };
    let padding_bytes = chain.padding().await?.saturating_sub(padding);
    Ok(Step {
        streams,
        sent,
        delivered,
        padding_bytes,
        seconds,
        cpu: cpu / seconds,
        others_cpu: others.map(|used| used.as_secs_f64() / seconds),
        other_programs,
        packets_per_cpu_second: slices.median() * links.consumers as f64 * arrived,
    })
}

/// Packets for each second of CPU time, part by part.
struct Slices {
    cpu: Duration,
    sent: u64,
    rates: Vec<f64>,
}

impl Slices {
    fn begin(cpu: Duration, sent: u64) -> Self {
        Self { cpu, sent, rates: Vec::new() }
    }

    fn end_one(&mut self, cpu: Duration, sent: u64) {
        let used = cpu.saturating_sub(self.cpu).as_secs_f64();
        self.rates.push(sent.saturating_sub(self.sent) as f64 / used);
        (self.cpu, self.sent) = (cpu, sent);
    }

    fn median(mut self) -> f64 {
        self.rates.sort_by(f64::total_cmp);
        self.rates.get(self.rates.len() / 2).copied().unwrap_or(0.0)
    }
}

fn conclude(steps: Vec<Step>) -> Result<Report, CalibrateError> {
    match steps.iter().rfind(|step| step.is_good()) {
        Some(best) => {
            let packets_per_cpu_second = best.packets_per_cpu_second;
            let packets_per_worker = (packets_per_cpu_second * UTILISATION) as u64;
            Ok(Report { packets_per_worker, packets_per_cpu_second, steps })
        }
        None => {
            let first = steps.first();
            let (streams, loss) = first.map_or((0, 1.0), |step| (step.streams, step.loss()));
            Err(CalibrateError::Lost { streams, percent: loss * 100.0 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(streams: usize, delivered: u64, packets_per_cpu_second: f64) -> Step {
        let (sent, seconds, cpu, others_cpu, other_programs) = (1_000, 1.0, 0.1, [0.1; 2], 0.0);
        let padding_bytes = 0;
        Step {
            streams,
            sent,
            delivered,
            padding_bytes,
            seconds,
            cpu,
            others_cpu,
            other_programs,
            packets_per_cpu_second,
        }
    }

    #[test]
    fn the_last_step_that_was_delivered_counts() {
        let steps = vec![step(10, 1_000, 50_000.0), step(20, 995, 60_000.0), step(40, 900, 70_000.0)];
        let report = conclude(steps).expect("two are good");
        assert_eq!(report.packets_per_worker, 48_000);
        assert_eq!(report.steps.len(), 3);
    }

    #[test]
    fn nothing_delivered_is_no_figure() {
        let error = conclude(vec![step(10, 0, 0.0)]).expect_err("nothing came").to_string();
        assert!(error.contains("10 streams 100.0 %"), "{error}");
        assert!(conclude(vec![step(10, 1_000, f64::INFINITY)]).is_err());
        assert!(conclude(Vec::new()).is_err());
    }

    #[test]
    fn one_disturbed_part_changes_nothing() {
        let milliseconds = Duration::from_millis;
        let mut slices = Slices::begin(milliseconds(50), 7);
        // The second part took four times as long.
        for (cpu, sent) in [(150, 1_007), (550, 2_007), (660, 3_007)] {
            slices.end_one(milliseconds(cpu), sent);
        }
        let median = slices.median();
        assert!((median - 1_000.0 / 0.11).abs() < 1.0, "{median}");
    }

    #[tokio::test]
    async fn packets_come_through_encrypted_and_counted() {
        let links = Links { encrypted: true, estimator: true, consumers: 1 };
        let mut chain = Chain::start(links).await.expect("starts");
        let load = Load::start().expect("starts");
        chain.grow(ROOM, &load).await.expect("grows");
        let step = super::step(&chain, &load, links, ROOM, Duration::from_secs(1)).await.expect("measures");
        assert!(step.sent > 100 && step.loss() < 0.05, "{step:?}");
        assert!(step.cpu > 0.0 && step.packets_per_cpu_second > 100.0, "{step:?}");
    }
}

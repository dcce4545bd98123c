//! Threads of this process, and the CPU time that they and all others use.

use procfs::CurrentSI;
use procfs::process::{Process, Task};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A thread of this process, by the kernel's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thread(i32);

impl Thread {
    /// The thread that asks. Nothing where /proc is not there.
    pub fn current() -> Option<Self> {
        // The link reads `PROCESS/task/THREAD`.
        let link = std::fs::read_link("/proc/thread-self").ok()?;
        link.file_name()?.to_str()?.parse().ok().map(Self)
    }

    /// The CPU time that it has used so far, in user space and in the kernel; nothing once it has ended.
    ///
    /// What the kernel counts in nanoseconds, up to the scheduler's last look at the thread, which is some milliseconds
    /// ago at most; in clock ticks of 10 ms where the kernel does not count that.
    pub fn cpu_time(self) -> Option<Duration> {
        let task = Process::myself().ok()?.task_from_tid(self.0).ok()?;
        fine(&task).or_else(|| coarse(&task))
    }
}

fn fine(task: &Task) -> Option<Duration> {
    let nanoseconds = task.schedstat().ok()?.sum_exec_runtime;
    // A kernel without the counter shows nothing but zeroes.
    (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
}

fn coarse(task: &Task) -> Option<Duration> {
    let stat = task.stat().ok()?;
    let ticks = stat.utime.checked_add(stat.stime)?;
    Some(Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64))
}

/// The CPU time that everything but this process has used on this machine so far, with what another machine on the
/// same hardware took; in clock ticks of 10 ms. Nothing where /proc is not there.
pub(super) fn cpu_time_of_others() -> Option<Duration> {
    let own = Process::myself().ok()?.stat().ok()?;
    let all = procfs::KernelStats::current().ok()?.total;
    let busy = [all.user, all.nice, all.system, all.irq.unwrap_or(0), all.softirq.unwrap_or(0)];
    let busy = busy.iter().sum::<u64>() + all.steal.unwrap_or(0);
    let ticks = busy.saturating_sub(own.utime + own.stime);
    Some(Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64))
}

/// A thread that says itself which one it is, once it runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Introduced(Arc<OnceLock<Option<Thread>>>);

impl Introduced {
    /// What the thread is to do when it begins. Cannot panic, as a worker's thread must not.
    pub(super) fn initializer(&self) -> Arc<dyn Fn() + Send + Sync> {
        let slot = Arc::clone(&self.0);
        Arc::new(move || {
            slot.get_or_init(Thread::current);
        })
    }

    /// The thread, once it has begun.
    pub(super) fn thread(&self) -> Option<Thread> {
        self.0.get().copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_threads_time_is_its_own() {
        let introduced = Introduced::default();
        assert_eq!(introduced.thread(), None);
        let initializer = introduced.initializer();
        let (say, hear) = std::sync::mpsc::sync_channel(1);
        let busy = std::thread::spawn(move || {
            initializer();
            let started = Instant::now();
            let mut sum = 0_u64;
            while started.elapsed() < Duration::from_millis(200) {
                sum = std::hint::black_box(sum.wrapping_add(1));
            }
            // The kernel's counter is at most some ticks behind.
            std::thread::park_timeout(Duration::from_millis(10));
            say.send(Thread::current()).expect("is heard");
            std::thread::park_timeout(Duration::from_secs(5));
        });
        let own = hear.recv().expect("says it").expect("there is /proc");
        assert_eq!(introduced.thread(), Some(own));
        assert_ne!(Thread::current(), Some(own));
        let used = own.cpu_time().expect("it runs");
        // Others may have had the core for a part of the time.
        assert!(used > Duration::from_millis(20) && used < Duration::from_millis(400), "{used:?}");
        busy.thread().unpark();
        busy.join().expect("ends");
        assert_eq!(own.cpu_time(), None);
    }
}

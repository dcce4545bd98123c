//! Runs one test.

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

thread_local! {
    /// What the nodes of meshes that ended on this thread had logged last.
    static LOGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the end of a node's log until it is known whether the test failed.
pub(crate) fn keep_log(log: String) {
    if std::thread::panicking() {
        eprintln!("{log}");
        return;
    }
    LOGS.with_borrow_mut(|logs| logs.push(log));
}

/// Runs a test on a runtime of its own, for so many seconds at most. When it fails, the ends of its nodes' logs are
/// printed.
///
/// # Panics
/// When the test fails or takes too long.
pub fn run<F: Future<Output = anyhow::Result<()>>>(seconds: u64, test: F) {
    LOGS.with_borrow_mut(Vec::clear);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    let outcome = runtime.block_on(async {
        match tokio::time::timeout(Duration::from_secs(seconds), test).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow::anyhow!("the test takes more than {seconds} s")),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    if let Err(error) = outcome {
        for log in LOGS.take() {
            eprintln!("{log}");
        }
        panic!("{error:#}{}", places(&error));
    }
}

/// Where in the tests the error was made, if the system was asked to remember (RUST_BACKTRACE).
fn places(error: &anyhow::Error) -> String {
    let trace = error.backtrace().to_string();
    let own = trace
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("at ./tests/") || line.starts_with("at tests/"));
    own.take(3).map(|line| format!("\n    {line}")).collect()
}

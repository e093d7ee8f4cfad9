//! From the start of a process to its end: signals, and a limit to everything after them.
//!
//! A start is given up when the process is asked to stop, whatever it waits for. After that a
//! service has its grace period and [`STOP_TIME`]; then it ends, even if broker and store do not
//! answer and a computation still runs. Nothing is lost by that: it is the crash that the protocol
//! survives.

use crate::{Drain, RuntimeError, error::chain};
use anyhow::Context as _;
use std::{future::Future, time::Duration};

/// Exit code of a worker whose job showed no progress for too long, or whose accelerator failed
/// (`EX_TEMPFAIL` of sysexits.h): a new process can go on.
pub const EXIT_STALLED: i32 = 75;
/// Exit code of a process whose store is not the coordinator's (`EX_CONFIG` of sysexits.h): a new
/// process would find the same.
pub const EXIT_OTHER_STORE: i32 = 78;
/// Exit code after a second signal.
pub const EXIT_SECOND_SIGNAL: i32 = 130;

/// Time after the grace period for the last words to the broker.
pub const STOP_TIME: Duration = Duration::from_secs(10);
/// Of that, for each step: returning the job, and removing the heartbeat.
pub(crate) const STEP_TIME: Duration = Duration::from_secs(4);
/// Time after that for what no async code can end: a blocked runtime, exit handlers of libraries
/// that wait for a computation.
const EXIT_TIME: Duration = Duration::from_secs(5);

/// Runs `main` on an async runtime, with a drain that signals begin. Ends at the latest
/// `grace` and [`STOP_TIME`] after the drain has begun.
///
/// # Errors
/// Those of `main`; a stalled job and another store than the coordinator's have exit codes of their
/// own and do not return.
pub(crate) fn run(
    grace: Duration,
    main: impl AsyncFnOnce(Drain) -> Result<(), RuntimeError>,
) -> Result<(), RuntimeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the async runtime")?;
    let ended = runtime.block_on(async {
        let drain = Drain::default();
        let latest = grace + STOP_TIME + EXIT_TIME;
        drain
            .on_signals_within(latest)
            .context("install signal handlers")?;
        tokio::select! {
            ended = main(drain.clone()) => ended,
            () = overdue(&drain, grace + STOP_TIME) => {
                tracing::warn!("not everything could be ended in time: exiting as it is. Jobs that \
                    were not returned are redelivered when ack_wait is over");
                Ok(())
            }
        }
    });
    // A computation that did not end within the grace period must not keep the process alive.
    runtime.shutdown_background();
    abort_after(EXIT_TIME);
    match ended {
        Err(error @ (RuntimeError::Stalled(_) | RuntimeError::DeviceLost)) => {
            exit(&error, EXIT_STALLED)
        }
        Err(error @ RuntimeError::OtherStore { .. }) => exit(&error, EXIT_OTHER_STORE),
        ended => ended,
    }
}

fn exit(error: &RuntimeError, code: i32) -> ! {
    tracing::error!(error = %chain(error), code, "exiting");
    std::process::exit(code)
}

/// Returns so long after the drain has begun.
async fn overdue(drain: &Drain, after: Duration) {
    drain.begun().await;
    tokio::time::sleep(after).await;
}

/// Aborts the process if it still runs after this time.
pub(crate) fn abort_after(limit: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        cedm_terminal::errln!("the process did not end within its time: aborting it");
        std::process::abort();
    });
}

/// The result of `start`, or `None` when the drain begins first; the start is given up then.
///
/// # Errors
/// Those of `start`.
pub(crate) async fn unless_drained<T>(
    drain: &Drain,
    start: impl Future<Output = Result<T, RuntimeError>>,
) -> Result<Option<T>, RuntimeError> {
    tokio::select! {
        started = start => started.map(Some),
        () = drain.begun() => {
            tracing::info!("asked to stop before it was ready");
            Ok(None)
        }
    }
}

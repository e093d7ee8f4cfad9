//! `cedm cancel`: cancel a sweep.

use crate::{args::Output, client, sweeps::Reader};
use anyhow::Result;
use cedm_terminal::{outjson, outln};
use clap::Args;

/// Options of `cedm cancel`.
#[derive(Args, Debug)]
pub struct CancelArgs {
    /// Name or id of the sweep, as `cedm status` shows it
    pub sweep: String,
}

/// Cancels the sweep: its queued jobs are withdrawn, running ones finish, and results are kept. A
/// sweep that cannot be read can be cancelled too.
///
/// # Errors
/// When the sweep is unknown or the system does not answer.
pub fn run(args: &CancelArgs, output: Output) -> Result<()> {
    client::block_on(async {
        let connection = client::connect().await?;
        let cancelled = Reader::new(&connection)
            .cancel(&args.sweep.parse()?)
            .await?;
        connection.flush().await;
        match output {
            Output::Json => {
                outjson!(serde_json::json!({"sweep": args.sweep, "cancelled": cancelled}))
            }
            Output::Text if cancelled => outln!(
                "sweep {} is cancelled; running jobs finish, and every result is kept",
                args.sweep
            ),
            Output::Text => outln!(
                "sweep {} is complete or was cancelled before: nothing was changed",
                args.sweep
            ),
        }
        Ok(())
    })
}

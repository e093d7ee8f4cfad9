//! `cedm cancel`: ends a sweep.

use crate::{
    args::{CancelArgs, Output},
    client,
    sweeps::Reader,
};
use anyhow::Result;

/// Ends the sweep: nothing of it is started any more; what is in hand is finished and kept.
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
            Output::Json => crate::say!(
                "{}",
                serde_json::json!({"sweep": args.sweep, "cancelled": cancelled})
            ),
            Output::Text if cancelled => crate::say!(
                "sweep {} is cancelled; jobs in hand are finished, and every result is kept",
                args.sweep
            ),
            Output::Text => crate::say!("sweep {} was not running", args.sweep),
        }
        Ok(())
    })
}

//! `cedm pause` and `cedm resume`: hold a sweep, and let it go on.

use crate::{args::Output, client, sweeps::Reader};
use anyhow::Result;
use cedm_terminal::{outjson, outln};
use clap::Args;

/// Options of `cedm pause` and `cedm resume`.
#[derive(Args, Debug)]
pub struct PauseArgs {
    /// Name of the sweep, as `cedm status` shows it
    pub sweep: String,
}

/// Pauses the sweep: its queued jobs are withdrawn, running ones finish, and nothing more of it is
/// started.
///
/// # Errors
/// When the sweep is unknown or the system does not answer.
pub fn pause(args: &PauseArgs, output: Output) -> Result<()> {
    client::block_on(async {
        let connection = client::connect().await?;
        let paused = Reader::new(&connection).pause(&args.sweep.parse()?).await?;
        connection.flush().await;
        let sweep = &args.sweep;
        match output {
            Output::Json => outjson!(serde_json::json!({"sweep": sweep, "paused": paused})),
            Output::Text if paused => outln!(
                "sweep {sweep} is paused; running jobs finish, and `cedm resume {sweep}` goes on"
            ),
            Output::Text => {
                outln!("sweep {sweep} has ended or was paused before: nothing was changed");
            }
        }
        Ok(())
    })
}

/// Lets a paused sweep go on.
///
/// # Errors
/// When the sweep is unknown or the system does not answer.
pub fn resume(args: &PauseArgs, output: Output) -> Result<()> {
    client::block_on(async {
        let connection = client::connect().await?;
        let resumed = Reader::new(&connection)
            .resume(&args.sweep.parse()?)
            .await?;
        connection.flush().await;
        let sweep = &args.sweep;
        match output {
            Output::Json => outjson!(serde_json::json!({"sweep": sweep, "resumed": resumed})),
            Output::Text if resumed => outln!("sweep {sweep} goes on"),
            Output::Text => outln!("sweep {sweep} is not paused: nothing was changed"),
        }
        Ok(())
    })
}

//! `cedm rm`: remove a sweep from the lists.

use crate::{args::Output, client, sweeps::Reader};
use anyhow::Result;
use cedm_contract::SweepId;
use cedm_terminal::{outjson, outln};
use clap::Args;

/// Options of `cedm rm`.
#[derive(Args, Debug)]
pub struct RmArgs {
    /// Names of sweeps that are complete, damaged or cancelled
    #[arg(required = true)]
    pub sweeps: Vec<SweepId>,
}

/// Removes sweeps that have ended. Their results stay until `cedm gc` collects them: a sweep that
/// asks for the same work finds it done.
///
/// # Errors
/// When a sweep is unknown or has not ended (those named before it are removed then), or the system
/// does not answer.
pub fn run(args: &RmArgs, output: Output) -> Result<()> {
    client::block_on(async {
        let connection = client::connect().await?;
        let mut reader = Reader::new(&connection);
        for id in &args.sweeps {
            reader.remove(id).await?;
            match output {
                Output::Json => outjson!(serde_json::json!({"sweep": id, "removed": true})),
                Output::Text => {
                    outln!("sweep {id} is removed; its results stay until `cedm gc` collects them");
                }
            }
        }
        connection.flush().await;
        Ok(())
    })
}

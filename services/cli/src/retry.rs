//! `cedm retry`: queue the dead jobs of a sweep again.

use crate::{args::Output, client, dead, sweeps::Reader};
use anyhow::{Result, ensure};
use cedm_contract::{JobKey, SweepId};
use cedm_planner::State;
use cedm_runtime::DeadLetters;
use cedm_sweep::lifecycle::Phase;
use cedm_terminal::{outjson, outln};
use clap::Args;
use std::collections::BTreeSet;

/// Options of `cedm retry`.
#[derive(Args, Debug)]
pub struct RetryArgs {
    /// Name of the sweep, as `cedm status` shows it
    pub sweep: SweepId,
}

/// Queues the dead jobs of a sweep again, each with a fresh budget of attempts. Jobs that they
/// block follow by themselves; results are kept.
///
/// # Errors
/// When the sweep is unknown or has ended, a job cannot be queued (the others are), or the system
/// does not answer.
pub fn run(args: &RetryArgs, output: Output) -> Result<()> {
    client::block_on(async {
        let connection = client::connect().await?;
        let view = Reader::new(&connection).view(&args.sweep).await?;
        let (id, phase) = (&args.sweep, view.phase());
        ensure!(
            !phase.reopens(),
            "sweep {id} is {phase}: `cedm submit` of its file runs it again"
        );
        ensure!(
            phase != Phase::Paused,
            "sweep {id} is paused: `cedm resume {id}` comes first"
        );
        let dead = view
            .jobs
            .iter()
            .filter(|node| matches!(node.state, State::Dead { .. }));
        let keys: BTreeSet<JobKey> = dead
            .filter_map(|node| Some(node.job.as_ref()?.key.clone()))
            .collect();
        let keys: Vec<JobKey> = keys.into_iter().collect();
        if keys.is_empty() {
            match output {
                Output::Json => outjson!(serde_json::json!([])),
                Output::Text => outln!("no job of sweep {id} is dead: nothing was changed"),
            }
            return Ok(());
        }
        let letters = DeadLetters::new(&connection);
        dead::replay_all(&connection, &letters, &keys, output).await?;
        connection.flush().await;
        Ok(())
    })
}

//! `cedm submit --dry-run`: the jobs, which of them are cached, and how much work is left.

use crate::{args::Output, render, sweeps::Reader};
use anyhow::Result;
use cedm_planner::{KindEstimate, State, estimate};
use cedm_sweep::Sweep;
use cedm_terminal::{outjson, outln};
use serde_json::json;

/// Prints the plan of a sweep without submitting it.
///
/// # Errors
/// When the store or NATS fails.
pub async fn print(reader: &mut Reader, sweep: &Sweep, output: Output) -> Result<()> {
    let plan = reader.plan(sweep).await?;
    let rows = estimate(&plan);
    if output == Output::Json {
        outjson!(json!({"sweep": sweep.id, "jobs": plan.nodes, "estimate": rows}));
        return Ok(());
    }
    let mut table = render::table(&["job", "state", "key"]);
    for node in &plan.nodes {
        let state = match &node.state {
            State::Done { .. } => "cached".to_owned(),
            State::Ready => "ready".to_owned(),
            State::Waiting { on } => format!("after {}", shortened(on)),
            State::Dead { reason } => {
                format!("dead: {}", reason.lines().next().unwrap_or_default())
            }
            State::Blocked { by } => format!("blocked by dead jobs: {}", shortened(by)),
        };
        let key = node.job.as_ref().map_or("", |job| job.key.short());
        table.add_row([node.id.as_str(), &state, key]);
    }
    table.print();
    outln!();
    let mut table = render::table(&["kind", "jobs", "cached", "work left"]);
    for KindEstimate {
        kind,
        jobs,
        done,
        work_left,
        unit,
        ..
    } in &rows
    {
        table.add_row([
            kind.token(),
            &jobs.to_string(),
            &done.to_string(),
            &format!("{} {unit}", amount(*work_left)),
        ]);
    }
    table.print();
    outln!("estimates that depend on the bound search are upper limits; nothing was submitted");
    Ok(())
}

fn amount(number: f64) -> String {
    if number >= 100.0 || number.fract() == 0.0 {
        render::count(number.round() as u64)
    } else {
        format!("{number:.1}")
    }
}

fn shortened(ids: &[String]) -> String {
    match ids {
        [] => String::new(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

//! `cedm submit --dry-run`: the jobs, which of them are cached, and how much work is left.

use crate::{args::Output, render, sweeps::Reader};
use anyhow::{Result, bail};
use cedm_planner::{Plan, State, estimate};
use cedm_sweep::Sweep;
use cedm_terminal::{outjson, outln};
use serde_json::json;

/// Refuses a plan with a job that no message can hold, as far as its size is known by now.
///
/// # Errors
/// When there is one: its name, and why.
pub fn require_sendable(plan: &Plan) -> Result<()> {
    let mut refused = plan
        .nodes
        .iter()
        .filter_map(|node| Some((&node.id, node.unsendable()?)));
    let Some((first, reason)) = refused.next() else {
        return Ok(());
    };
    let more = match refused.count() {
        0 => String::new(),
        more => format!(" ({more} more jobs cannot either)"),
    };
    bail!("job `{first}` of this sweep cannot be queued: {reason}{more}")
}

/// Prints the plan of a sweep on so many images without submitting it.
///
/// # Errors
/// When the store or NATS fails, or a job of the sweep cannot be queued.
pub async fn print(reader: &mut Reader, sweep: &Sweep, images: u64, output: Output) -> Result<()> {
    let plan = reader.plan(sweep).await?;
    let rows = estimate(&plan, &sweep.spec, images);
    if output == Output::Json {
        outjson!(json!({"sweep": sweep.id, "jobs": plan.nodes, "estimate": rows}));
        return require_sendable(&plan);
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
    for row in &rows {
        let (least, most) = (row.least, row.most);
        table.add_row([
            row.kind.token(),
            &between(
                &row.jobs.to_string(),
                &least.jobs.to_string(),
                &most.jobs.to_string(),
            ),
            &row.done.to_string(),
            &format!(
                "{} {}",
                between(
                    &amount(row.work_left),
                    &amount(least.work_left),
                    &amount(most.work_left)
                ),
                row.unit
            ),
        ]);
    }
    table.print();
    if rows.iter().any(|row| row.least != row.most) {
        outln!(
            "in brackets: from a bound search that ends at its first C to one that tries all it can"
        );
    }
    outln!("nothing was submitted");
    require_sendable(&plan)
}

/// "8 (1–12)"; the number alone where nothing is uncertain.
fn between(expected: &str, least: &str, most: &str) -> String {
    if least == most {
        expected.to_owned()
    } else {
        format!("{expected} ({least}–{most})")
    }
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

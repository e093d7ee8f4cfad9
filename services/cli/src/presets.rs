//! `cedm presets`: print the table of training presets.

use crate::{args::Output, render};
use anyhow::Result;
use cedm_sweep::{preset, preset_names};
use cedm_terminal::{outjson, outln};
use serde_json::{Value, json};

/// Prints the table of training presets.
///
/// # Errors
/// None in practice: the table always encodes.
pub fn run(output: Output) -> Result<()> {
    let presets: Vec<_> = preset_names().into_iter().filter_map(preset).collect();
    if output == Output::Json {
        let rows = presets.iter().map(|preset| {
            json!({"name": preset.name, "summary": preset.summary, "sources": preset.sources, "network": preset.network, "optimiser": preset.optimiser,
                "augment": preset.augment, "precision": preset.precision, "budget_kimg": preset.budget_kimg,
                "sampler_steps": preset.sampler_steps})
        });
        outjson!(Value::Array(rows.collect()));
        return Ok(());
    }
    let mut table = render::table(&["name", "images", "budget", "batch", "what it is for"]);
    for preset in &presets {
        let side = preset.network.resolution;
        table.add_row([
            preset.name,
            &format!("{side}×{side}"),
            &format!("{} kimg", preset.budget_kimg),
            &preset.optimiser.batch.to_string(),
            preset.summary,
        ]);
    }
    table.print();
    outln!(
        "In a sweep file: `preset = \"…\"` below [training]; every number can be set beside it \
         (services/README.md). `cedm new SET` writes a sweep file for an image set."
    );
    Ok(())
}

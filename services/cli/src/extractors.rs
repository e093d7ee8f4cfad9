//! `cedm extractors`: the table of feature extractors.

use crate::{args::Output, render};
use anyhow::Result;
use cedm_contract::EXTRACTORS;

/// Prints the table.
///
/// # Errors
/// Never in practice: the table always encodes.
pub fn run(output: Output) -> Result<()> {
    if output == Output::Json {
        crate::say!("{}", serde_json::to_string(EXTRACTORS)?);
        return Ok(());
    }
    let mut table = render::table(&["name", "width", "weights", "remarks"]);
    for extractor in EXTRACTORS {
        let width = match (extractor.dim, extractor.chooses_dim) {
            (Some(dim), _) => dim.to_string(),
            (None, true) => "chosen (dim)".to_owned(),
            (None, false) => "that of its input or file".to_owned(),
        };
        let mut remarks = Vec::new();
        if extractor.fitted {
            remarks.push("learns from the image set first");
        }
        if extractor.has_logits {
            remarks.push("has class logits");
        }
        table.add_row([
            extractor.name,
            &width,
            if extractor.needs_weights { "a file" } else { "none" },
            &remarks.join(", "),
        ]);
    }
    crate::say!("{table}");
    Ok(())
}

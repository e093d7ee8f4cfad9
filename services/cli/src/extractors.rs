//! `cedm extractors`: print the table of feature extractors.

use crate::{args::Output, render};
use anyhow::Result;
use cedm_catalogue::extractors::{EXTRACTORS, Extractor};
use cedm_terminal::{outjson, outln};

/// Prints the table of extractors.
///
/// # Errors
/// None in practice: the table always encodes.
pub fn run(output: Output) -> Result<()> {
    if output == Output::Json {
        outjson!(serde_json::to_string(EXTRACTORS)?);
        return Ok(());
    }
    let mut table = render::table(&["name", "description", "input", "width", "weights"]);
    for extractor in EXTRACTORS {
        let width = match (extractor.dim, extractor.chooses_dim) {
            (Some(dim), _) => dim.to_string(),
            (None, true) => "set by `dim`".to_owned(),
            (None, false) if extractor.needs_weights => "from the file".to_owned(),
            (None, false) => "from the image".to_owned(),
        };
        let input = extractor
            .input
            .map_or("unchanged".to_owned(), |side| side.to_string());
        table.add_row([
            extractor.name,
            extractor.about,
            &input,
            &width,
            &weights(extractor),
        ]);
    }
    table.print();
    outln!(
        "In a sweep file `weights` names the published file by path or s3:// URI: safetensors, or \
         PyTorch's zip or legacy format."
    );
    Ok(())
}

/// Where the weights are published, with the file's SHA-256 where it is known for certain.
fn weights(extractor: &Extractor) -> String {
    let Some(published) = extractor.published else {
        return "none".to_owned();
    };
    let adapts = if extractor.adapts {
        "; can be adapted"
    } else {
        ""
    };
    match extractor.sha256 {
        Some(sha256) => format!("{published}, sha256 {sha256}{adapts}"),
        None => format!("{published}{adapts}"),
    }
}

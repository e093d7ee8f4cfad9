//! `cedm extractors`: the table of feature extractors.

use crate::{args::Output, render};
use anyhow::Result;
use cedm_catalogue::extractors::{EXTRACTORS, Extractor};

/// Prints the table.
///
/// # Errors
/// Never in practice: the table always encodes.
pub fn run(output: Output) -> Result<()> {
    if output == Output::Json {
        crate::say!("{}", serde_json::to_string(EXTRACTORS)?);
        return Ok(());
    }
    let mut table = render::table(&["name", "what", "input", "width", "weights"]);
    for extractor in EXTRACTORS {
        let width = match (extractor.dim, extractor.chooses_dim) {
            (Some(dim), _) => dim.to_string(),
            (None, true) => "chosen (dim)".to_owned(),
            (None, false) if extractor.needs_weights => "the file's".to_owned(),
            (None, false) => "the image's".to_owned(),
        };
        let input = extractor
            .input
            .map_or("as it is".to_owned(), |side| side.to_string());
        table.add_row([
            extractor.name,
            extractor.about,
            &input,
            &width,
            &weights(extractor),
        ]);
    }
    crate::say!("{table}");
    crate::say!(
        "`weights` names a file (path or s3:// URI) as it is published there: safetensors, \
         PyTorch zip or legacy."
    );
    Ok(())
}

/// Where the weights are published, and the file's SHA-256 where it is known for certain.
fn weights(extractor: &Extractor) -> String {
    let Some(published) = extractor.published else {
        return "none".to_owned();
    };
    let learns = if extractor.adapts {
        "; can be adapted"
    } else {
        ""
    };
    match extractor.sha256 {
        Some(sha256) => format!("{published}, sha256 {sha256}{learns}"),
        None => format!("{published}{learns}"),
    }
}

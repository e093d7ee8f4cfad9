//! PyTorch files and their copies as safetensors: the same tensors, bit for bit.

use super::{Comparison, Verdict, exact_match, listing::Listing};
use crate::fixture::Fixture;
use cedm_nets::{Weights, weights::Encoder};
use tch::Kind;

/// The networks that a checkpoint may hold, with words that the name of its safetensors copy may
/// contain.
const FORMS: [(&str, &[&str]); 4] = [
    (
        "the slow encoder",
        &["teacher_backbone", "momentum_encoder"],
    ),
    ("the trained encoder", &["student_backbone", "base_encoder"]),
    ("the head", &["head"]),
    ("all tensors", &[]),
];

pub fn check(fixture: &Fixture, listing: &Listing) -> anyhow::Result<Verdict> {
    let pytorch = |name: &str| {
        [".pth", ".pth.tar", ".pt", ".th"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    let beside = listing.siblings();
    if listing.name.ends_with(".safetensors") && beside.iter().any(|name| pytorch(name)) {
        return Ok(Verdict::PartOf("its twins in PyTorch's formats".to_owned()));
    }
    if !pytorch(&listing.name) {
        return Ok(Verdict::NotRecognised);
    }
    let file = Weights::read(&fixture.path)?;
    let twins: Vec<(&str, Weights)> = beside
        .iter()
        .filter(|name| name.ends_with(".safetensors"))
        .map(|name| Ok((*name, listing.read_weights(name)?)))
        .collect::<anyhow::Result<_>>()?;
    let forms = [
        file.backbone(Encoder::Teacher),
        file.backbone(Encoder::Student),
        file.head(Encoder::Teacher),
        file,
    ];
    let mut comparisons: Vec<Comparison> = Vec::new();
    for ((form, words), found) in FORMS.iter().zip(&forms) {
        if found.is_empty() {
            continue;
        }
        // A copy named after another form does not count; random tensors agree with their own copy
        // alone.
        let another = |name: &str| {
            FORMS.iter().any(|(other, theirs)| {
                other != form
                    && theirs
                        .iter()
                        .any(|word| name.contains(word) && !words.contains(word))
            })
        };
        if let Some((name, _)) = twins
            .iter()
            .find(|(name, twin)| !another(name) && bitwise_equal(found, twin))
        {
            comparisons.push(exact_match(format!("{form}: {name}"), true));
        }
    }
    if comparisons.is_empty() {
        comparisons.push(exact_match("a twin with the same tensors", false));
    }
    Ok(Verdict::Checked(comparisons))
}

fn bitwise_equal(found: &Weights, twin: &Weights) -> bool {
    let bits = |tensor: &tch::Tensor| {
        if tensor.is_floating_point() {
            tensor.contiguous().view_dtype(integers(tensor.kind()))
        } else {
            tensor.shallow_clone()
        }
    };
    found.len() == twin.len()
        && found
            .iter()
            .zip(twin.iter())
            .all(|((name, a), (other, b))| {
                name == other
                    && a.kind() == b.kind()
                    && a.size() == b.size()
                    && (a.numel() == 0 || bits(a).equal(&bits(b)))
            })
}

/// The integers of the same width.
fn integers(kind: Kind) -> Kind {
    match kind {
        Kind::Double => Kind::Int64,
        Kind::Float => Kind::Int,
        _ => Kind::Int16,
    }
}

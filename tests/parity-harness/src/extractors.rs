//! Fixtures of extractors: a folder whose `manifest.json` lists `files` with their tensors and
//! `cases` with their configurations.
//!
//! A file is recognised by its tensors and by the configuration of its case, and compared within
//! the tolerances that its module names.

mod checkpoints;
mod clip;
mod dino_loss;
mod fid;
mod listing;
mod preprocess;
mod tokenizer;
mod vit;

use crate::fixture::{Comparison, Fixture, Verdict};
use listing::Listing;
use tch::{Kind, Tensor};

/// Checks one file of this kind.
pub fn check(fixture: &Fixture) -> anyhow::Result<Verdict> {
    let Some(listing) = Listing::of(fixture)? else {
        return Ok(Verdict::NotRecognised);
    };
    let _guard = tch::no_grad_guard();
    if listing.is_manifest() {
        return Ok(Verdict::PartOf("every file beside it".to_owned()));
    }
    for check in [
        preprocess::check,
        fid::check,
        clip::check,
        vit::check,
        dino_loss::check,
        tokenizer::check,
        checkpoints::check,
    ] {
        match check(fixture, &listing)? {
            Verdict::NotRecognised => {}
            verdict => return Ok(verdict),
        }
    }
    Ok(Verdict::NotRecognised)
}

/// Largest difference over the reference's root mean square; infinite when shapes differ.
fn max_error_over_rms(found: &Tensor, expect: &Tensor) -> f64 {
    let expect = expect.to_kind(Kind::Double);
    max_abs_error(found, &expect) / expect.square().mean(Kind::Double).sqrt().double_value(&[])
}

/// Largest difference; infinite when shapes differ.
fn max_abs_error(found: &Tensor, expect: &Tensor) -> f64 {
    if found.size() != expect.size() {
        return f64::INFINITY;
    }
    (found.to_kind(Kind::Double) - expect.to_kind(Kind::Double))
        .abs()
        .max()
        .double_value(&[])
}

/// A comparison of values that must be equal.
fn exact_match(what: impl Into<String>, same: bool) -> Comparison {
    Comparison::new(what, if same { 0.0 } else { f64::INFINITY }, 0.0)
}

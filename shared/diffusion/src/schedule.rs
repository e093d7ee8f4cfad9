//! Learning rate and weight of the EMA as functions of the images seen (spec §7.5). `nimg` is
//! always the count before the step, as upstream has it.

use cedm_contract::kinds::train::OptimiserParams;

/// lr · min(nimg / ramp, 1): a linear ramp without decay. The very first step has rate 0, since
/// `nimg` is then 0 (spec §16.11).
pub fn learning_rate(params: &OptimiserParams, nimg: u64) -> f64 {
    // The floor of 1e-8 lets a ramp of 0 kimg mean "full rate at once" instead of 0 / 0.
    params.lr * (nimg as f64 / (params.lr_rampup_kimg * 1000.0).max(1e-8)).min(1.0)
}

/// Weight of the old average in one update: 0.5^(batch / half-life), with the half-life in images.
/// Early in the run it is limited to `ratio · nimg` (0.05 of the images seen), or the average would
/// remember the random initial weights for millions of images; at the first step it is 0 and the
/// EMA is a copy of the weights.
pub fn ema_beta(params: &OptimiserParams, nimg: u64) -> f64 {
    let mut halflife = params.ema_halflife_kimg * 1000.0;
    if let Some(ratio) = params.ema_rampup_ratio {
        halflife = halflife.min(nimg as f64 * ratio);
    }
    0.5f64.powf(f64::from(params.batch) / halflife.max(1e-8))
}

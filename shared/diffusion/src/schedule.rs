//! Learning rate and EMA by images seen (spec §7.5). `nimg` is always the count before the step.

use cedm_contract::kinds::train::OptimiserParams;

/// lr · min(nimg / ramp, 1): the very first step has rate 0.
pub fn learning_rate(params: &OptimiserParams, nimg: u64) -> f64 {
    params.lr * (nimg as f64 / (params.lr_rampup_kimg * 1000.0).max(1e-8)).min(1.0)
}

/// Weight of the old mean: 0.5^(batch / half-life), the half-life held to `ratio · nimg` while the
/// run is young.
pub fn ema_beta(params: &OptimiserParams, nimg: u64) -> f64 {
    let mut halflife = params.ema_halflife_kimg * 1000.0;
    if let Some(ratio) = params.ema_rampup_ratio {
        halflife = halflife.min(nimg as f64 * ratio);
    }
    0.5f64.powf(f64::from(params.batch) / halflife.max(1e-8))
}

//! EDM's sampler: Heun or Euler, deterministic or with churn, state in float64 (EDM algorithm 2;
//! spec §9).

mod batches;
mod guidance;
mod seeds;

pub use batches::{Sampler, Samples, block_size};
pub use guidance::Guide;
pub use seeds::{Drawn, LabelSupply, draw};

use crate::DiffusionError;
use cedm_contract::kinds::sample::{SamplerParams, Solver};
use tch::{Kind, Tensor};

/// What happens inside [`solve`], for those who want to look.
#[derive(Debug)]
pub enum Moment<'a> {
    /// A step begins with this state.
    Step {
        /// Counted from 0.
        index: usize,
        /// x.
        state: &'a Tensor,
        /// Noise level after churn.
        t_hat: f64,
        /// State after churn.
        x_hat: &'a Tensor,
    },
    /// The network was asked.
    Call {
        /// At this noise level.
        sigma: f64,
        /// And said this.
        denoised: &'a Tensor,
    },
}

/// t_0 … t_N: N noise levels and 0 exactly.
pub fn time_steps(params: &SamplerParams) -> Vec<f64> {
    let (from, to) = (
        params.sigma_max.powf(params.rho.recip()),
        params.sigma_min.powf(params.rho.recip()),
    );
    let share = |index: u32| {
        if params.steps > 1 {
            f64::from(index) / f64::from(params.steps - 1)
        } else {
            0.0
        }
    };
    (0..params.steps)
        .map(|index| (from + share(index) * (to - from)).powf(params.rho))
        .chain([0.0])
        .collect()
}

/// Refuses settings that make no sense.
///
/// # Errors
/// [`DiffusionError::Setting`].
pub fn check(params: &SamplerParams) -> Result<(), DiffusionError> {
    let refuse = |field, found: String, expected: &str| {
        Err(DiffusionError::Setting {
            field,
            found,
            expected: expected.into(),
        })
    };
    if params.steps == 0 {
        return refuse("steps", "0".into(), "at least 1");
    }
    if !(params.sigma_min > 0.0
        && params.sigma_min < params.sigma_max
        && params.sigma_max.is_finite())
    {
        let found = format!("{} with sigma_max {}", params.sigma_min, params.sigma_max);
        return refuse("sigma_min", found, "above 0 and below sigma_max");
    }
    if !(params.rho > 0.0 && params.rho.is_finite()) {
        return refuse("rho", params.rho.to_string(), "a positive number");
    }
    if params.s_churn < 0.0 || params.s_min > params.s_max {
        let found = format!(
            "s_churn {}, s_min {}, s_max {}",
            params.s_churn, params.s_min, params.s_max
        );
        return refuse(
            "s_churn",
            found,
            "s_churn of at least 0 and s_min up to s_max",
        );
    }
    let guidance = &params.guidance;
    if !guidance.weight.is_finite() || guidance.sigma_lo > guidance.sigma_hi {
        let found = format!(
            "weight {}, sigma_lo {}, sigma_hi {}",
            guidance.weight, guidance.sigma_lo, guidance.sigma_hi
        );
        return refuse(
            "guidance",
            found,
            "a finite weight and sigma_lo up to sigma_hi",
        );
    }
    Ok(())
}

/// Solves from unit latents \[n, c, r, r\] to images \[n, c, r, r\] f64 in about \[−1, 1\].
/// `denoise` takes the f64 state and a noise level and returns D in f64; `noise` gives the unit
/// churn noise of a step, asked for only where there is churn.
pub fn solve(
    params: &SamplerParams,
    latents: &Tensor,
    denoise: &mut dyn FnMut(&Tensor, f64) -> Tensor,
    noise: &mut dyn FnMut(usize) -> Tensor,
    observe: &mut dyn FnMut(Moment<'_>),
) -> Tensor {
    let times = time_steps(params);
    let steps = params.steps as usize;
    let mut x = latents.to_kind(Kind::Double) * times[0];
    for index in 0..steps {
        let (t, next) = (times[index], times[index + 1]);
        let churns = params.s_churn > 0.0 && (params.s_min..=params.s_max).contains(&t);
        let gamma = if churns {
            (params.s_churn / steps as f64).min(2f64.sqrt() - 1.0)
        } else {
            0.0
        };
        let t_hat = t + gamma * t;
        let x_hat = if gamma > 0.0 {
            &x + noise(index).to_kind(Kind::Double)
                * ((t_hat * t_hat - t * t).sqrt() * params.s_noise)
        } else {
            x.shallow_clone()
        };
        observe(Moment::Step {
            index,
            state: &x,
            t_hat,
            x_hat: &x_hat,
        });
        let mut slope_at = |x: &Tensor, sigma: f64| {
            let denoised = denoise(x, sigma);
            observe(Moment::Call {
                sigma,
                denoised: &denoised,
            });
            (x - denoised) / sigma
        };
        let slope = slope_at(&x_hat, t_hat);
        x = &x_hat + &slope * (next - t_hat);
        if params.solver == Solver::Heun && index + 1 < steps {
            let second = slope_at(&x, next);
            x = &x_hat + (slope * 0.5 + second * 0.5) * (next - t_hat);
        }
    }
    x
}

/// \[−1, 1\] → u8: x · 127.5 + 128, clipped, truncated (spec §16.13).
pub fn quantise(images: &Tensor) -> Tensor {
    (images * 127.5 + 128.0)
        .clamp(0.0, 255.0)
        .to_kind(Kind::Uint8)
}

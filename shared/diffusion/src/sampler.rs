//! EDM's sampler: Heun or Euler, deterministic or with churn, state in float64 (EDM algorithm 2;
//! spec §9).

mod batches;
mod guidance;
mod seeds;

pub use batches::{Sampler, Samples, block_size};
pub use guidance::Guide;
pub use seeds::{LabelDistribution, SampleStart, draw_start};

use crate::DiffusionError;
use cedm_contract::kinds::sample::{SamplerParams, Solver};
use tch::{Kind, Tensor};

/// What the solver reports to an observer: parity tests compare every intermediate state.
#[derive(Debug)]
pub enum SolverEvent<'a> {
    /// A step of the solver begins.
    Step {
        /// Index of the step, from 0.
        index: usize,
        /// x before churn, f64.
        state: &'a Tensor,
        /// Noise level after churn.
        t_hat: f64,
        /// x after churn, f64.
        x_hat: &'a Tensor,
    },
    /// The network was evaluated.
    Call {
        /// Noise level of the images that the network was given.
        sigma: f64,
        /// The denoised images, f64.
        denoised: &'a Tensor,
    },
}

/// The noise levels t_0 … t_N: N levels from sigma_max to sigma_min, evenly spaced in t^(1/rho),
/// and exactly 0 (EDM eq. 5). rho = 7 takes shorter steps at low noise, where the paper found the
/// truncation error to matter most.
pub fn time_steps(params: &SamplerParams) -> Vec<f64> {
    let (from, to) = (
        params.sigma_max.powf(params.rho.recip()),
        params.sigma_min.powf(params.rho.recip()),
    );
    let fraction = |index: u32| {
        // A single step has no spacing: it goes from sigma_max to 0.
        if params.steps > 1 {
            f64::from(index) / f64::from(params.steps - 1)
        } else {
            0.0
        }
    };
    (0..params.steps)
        .map(|index| (from + fraction(index) * (to - from)).powf(params.rho))
        .chain([0.0])
        .collect()
}

/// Checks the sampler's settings.
///
/// # Errors
/// [`DiffusionError::Setting`] naming the first one that is out of range.
pub fn check(params: &SamplerParams) -> Result<(), DiffusionError> {
    let invalid = |field, found: String, expected: &str| {
        Err(DiffusionError::Setting {
            field,
            found,
            expected: expected.into(),
        })
    };
    if params.steps == 0 {
        return invalid("steps", "0".into(), "at least 1");
    }
    if !(params.sigma_min > 0.0
        && params.sigma_min < params.sigma_max
        && params.sigma_max.is_finite())
    {
        let found = format!("{} with sigma_max {}", params.sigma_min, params.sigma_max);
        return invalid("sigma_min", found, "above 0 and below sigma_max");
    }
    if !(params.rho > 0.0 && params.rho.is_finite()) {
        return invalid("rho", params.rho.to_string(), "a positive number");
    }
    if params.s_churn < 0.0 || params.s_min > params.s_max {
        let found = format!(
            "s_churn {}, s_min {}, s_max {}",
            params.s_churn, params.s_min, params.s_max
        );
        return invalid(
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
        return invalid(
            "guidance",
            found,
            "a finite weight and sigma_lo up to sigma_hi",
        );
    }
    Ok(())
}

/// Solves the probability-flow ODE from unit latents \[n, c, r, r\] to images \[n, c, r, r\] f64,
/// of which nearly all values lie in \[−1, 1\] (EDM algorithm 2). `denoise` takes the f64 state and
/// a noise level and returns D in f64; `noise` returns the unit churn noise of a step and is called
/// only for steps with churn.
pub fn solve(
    params: &SamplerParams,
    latents: &Tensor,
    denoise: &mut dyn FnMut(&Tensor, f64) -> Tensor,
    noise: &mut dyn FnMut(usize) -> Tensor,
    observe: &mut dyn FnMut(SolverEvent<'_>),
) -> Tensor {
    let times = time_steps(params);
    let steps = params.steps as usize;
    // The state is float64: the steps at low noise are small differences of it (spec §16.12).
    let mut x = latents.to_kind(Kind::Double) * times[0];
    for index in 0..steps {
        let (t, next) = (times[index], times[index + 1]);
        let churns = params.s_churn > 0.0 && (params.s_min..=params.s_max).contains(&t);
        let gamma = if churns {
            // √2 − 1 is the largest churn that never adds more new noise than there is (EDM,
            // section 4).
            (params.s_churn / steps as f64).min(2f64.sqrt() - 1.0)
        } else {
            0.0
        };
        // Churn raises the noise level to t_hat by adding exactly the missing noise.
        let t_hat = t + gamma * t;
        let x_hat = if gamma > 0.0 {
            &x + noise(index).to_kind(Kind::Double)
                * ((t_hat * t_hat - t * t).sqrt() * params.s_noise)
        } else {
            x.shallow_clone()
        };
        observe(SolverEvent::Step {
            index,
            state: &x,
            t_hat,
            x_hat: &x_hat,
        });
        // dx/dσ = (x − D(x; σ)) / σ, the probability-flow ODE for σ(t) = t (EDM eq. 3).
        let mut slope_at = |x: &Tensor, sigma: f64| {
            let denoised = denoise(x, sigma);
            observe(SolverEvent::Call {
                sigma,
                denoised: &denoised,
            });
            (x - denoised) / sigma
        };
        let slope = slope_at(&x_hat, t_hat);
        x = &x_hat + &slope * (next - t_hat);
        // The correction needs the slope at `next`; at noise level 0 it would divide by 0, so the
        // last step is Euler's and N steps evaluate the network 2N − 1 times.
        if params.solver == Solver::Heun && index + 1 < steps {
            let second = slope_at(&x, next);
            x = &x_hat + (slope * 0.5 + second * 0.5) * (next - t_hat);
        }
    }
    x
}

/// Images in \[−1, 1\] as u8: x · 127.5 + 128, clipped to 0 … 255, truncated. Upstream adds 128 and
/// truncates where one would expect 127.5 and rounding (spec §16.13).
pub fn quantise(images: &Tensor) -> Tensor {
    (images * 127.5 + 128.0)
        .clamp(0.0, 255.0)
        .to_kind(Kind::Uint8)
}

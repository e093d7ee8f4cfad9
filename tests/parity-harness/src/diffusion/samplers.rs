//! Samplers: time grid, every state, the network's calls, the images.

use super::{Case, Model, comparison, double, max_abs, worst_relative};
use crate::fixture::{Comparison, Fixture};
use anyhow::Context;
use cedm_contract::kinds::sample::{SamplerParams, Solver};
use cedm_diffusion::{
    Labels, Mode,
    sampler::{SolverEvent, quantise, solve, time_steps},
};
use tch::{Kind, Tensor};

/// The intermediate states and network calls of a run of the solver.
struct Trace {
    images: Tensor,
    states: Vec<Tensor>,
    churned: Vec<Tensor>,
    t_hat: Vec<f64>,
    sigmas: Vec<f64>,
    denoised: Vec<Tensor>,
}

/// A `sampler` fixture: images from given noise.
pub fn check(fixture: &Fixture) -> anyhow::Result<Vec<Comparison>> {
    let case = Case::open(fixture)?;
    let setting = fixture.json("sampler").context("metadata `sampler`")?;
    let number = |name: &str, default: f64| setting[name].as_f64().unwrap_or(default);
    let params = SamplerParams {
        steps: number("num_steps", 18.0) as u32,
        solver: if setting["solver"] == "euler" {
            Solver::Euler
        } else {
            Solver::Heun
        },
        sigma_min: number("sigma_min", 0.002),
        sigma_max: number("sigma_max", 80.0),
        rho: number("rho", 7.0),
        s_churn: number("S_churn", 0.0),
        s_min: number("S_min", 0.0),
        s_max: number("S_max", f64::INFINITY),
        s_noise: number("S_noise", 1.0),
        ..SamplerParams::default()
    };
    let f32_run = run(fixture, &case, &params, Kind::Float)?;
    let mut comparisons = vec![
        comparison(
            "t_steps, rel",
            worst_relative(
                &Tensor::from_slice(&time_steps(&params)),
                case.get("t_steps")?,
            ),
            1e-13,
        ),
        comparison(
            "t_hat, rel",
            worst_relative(&Tensor::from_slice(&f32_run.t_hat), case.get("t_hat")?),
            1e-13,
        ),
        comparison(
            "sigma of every call, rel",
            worst_relative(
                &Tensor::from_slice(&f32_run.sigmas),
                case.get("all_call_sigma")?,
            ),
            1e-13,
        ),
        comparison(
            "state is float64",
            f64::from(u8::from(
                f32_run.states.iter().any(|x| x.kind() != Kind::Double),
            )),
            0.0,
        ),
        comparison(
            "f32 x_cur, max abs",
            max_abs(&Tensor::stack(&f32_run.states, 0), case.get("x_cur")?),
            2e-5,
        ),
        comparison(
            "f32 images before rounding, max abs",
            max_abs(&f32_run.images, case.get("images_f64state")?),
            2e-5,
        ),
    ];
    let bytes = quantise(&f32_run.images).permute([0, 2, 3, 1]).contiguous();
    comparisons.push(comparison(
        "images_u8, largest difference",
        max_abs(&bytes, case.get("images_u8")?),
        0.0,
    ));
    // The tensor's name lists the steps: x_hat_step1_3_6.
    for (steps, expected) in case.below("x_hat_step") {
        let states = steps.split('_').map(|step| {
            let state = step
                .parse::<usize>()
                .ok()
                .and_then(|step| f32_run.churned.get(step));
            Ok(state
                .with_context(|| format!("x_hat_step{steps}: no step {step}"))?
                .shallow_clone())
        });
        let churned = Tensor::stack(&states.collect::<anyhow::Result<Vec<_>>>()?, 0);
        comparisons.push(comparison(
            format!("f32 x_hat of steps {steps}, max abs"),
            max_abs(&churned, expected),
            2e-5,
        ));
    }
    if let (Some(indices), Some(expected)) = (case.find("call_index"), case.find("denoised_f32")) {
        let calls: Vec<Tensor> = Vec::<i64>::try_from(indices)?
            .iter()
            .map(|&call| f32_run.denoised[call as usize].shallow_clone())
            .collect();
        comparisons.push(comparison(
            "f32 network outputs of stored calls, max abs",
            max_abs(&Tensor::stack(&calls, 0), expected),
            2e-5,
        ));
    }
    let f64_run = run(fixture, &case, &params, Kind::Double)?;
    comparisons.push(comparison(
        "f64 images, max abs",
        max_abs(&f64_run.images, case.get("images_full_f64")?),
        1e-10,
    ));
    Ok(comparisons)
}

fn run(
    fixture: &Fixture,
    case: &Case,
    params: &SamplerParams,
    kind: Kind,
) -> anyhow::Result<Trace> {
    let Model {
        network,
        parameters,
        ..
    } = Model::open(fixture, case, kind)?;
    let views = parameters.views(&network.layout, None);
    let class = case.find("class_labels").map(|labels| labels.to_kind(kind));
    let (mut states, mut churned, mut t_hats, mut sigmas, mut outputs) =
        (vec![], vec![], vec![], vec![], vec![]);
    let mut denoise = |x: &Tensor, sigma: f64| {
        let labels = Labels {
            class: class.as_ref(),
            augment: None,
        };
        let level = Tensor::from_slice(&[sigma]).to_kind(kind);
        double(&network.denoise(&views, &x.to_kind(kind), &level, labels, Mode::EVAL))
    };
    let mut noise = |step: usize| {
        case.find("noise")
            .expect("churn cases store their noise")
            .get(step as i64)
    };
    let mut observe = |moment: SolverEvent<'_>| match moment {
        SolverEvent::Step {
            state,
            t_hat,
            x_hat,
            ..
        } => {
            states.push(state.copy());
            churned.push(x_hat.copy());
            t_hats.push(t_hat);
        }
        SolverEvent::Call { sigma, denoised } => {
            sigmas.push(sigma);
            outputs.push(denoised.copy());
        }
    };
    let latents = case.get("latents")?;
    let images = tch::no_grad(|| solve(params, latents, &mut denoise, &mut noise, &mut observe));
    Ok(Trace {
        images,
        states,
        churned,
        t_hat: t_hats,
        sigmas,
        denoised: outputs,
    })
}

//! Guidance: D = (1 + w) D(x|y) − w D'(x), where D' is the same network without a label, or a
//! weaker one with it.

use crate::{Labels, Mode, Network, Views};
use cedm_contract::kinds::sample::Guidance;
use tch::{Kind, Tensor};

/// The second denoiser D' of guidance.
#[derive(Debug)]
pub enum Guide {
    /// The network itself, without a label: classifier-free guidance (Ho, Salimans 2022).
    Unlabelled,
    /// A weaker network with the same label: autoguidance (Karras et al. 2024).
    Weaker(Box<Network>, Views),
}

/// D(x; σ, y) in float64 for the float64 state x \[n, c, r, r\], with guidance where its weight is
/// not 0 and σ lies in its interval; the network computes in the type of its weights.
pub(super) fn denoise(
    (network, views): (&Network, &Views),
    guide: &Guide,
    settings: &Guidance,
    labels: Option<&Tensor>,
    mode: Mode,
    weights: Kind,
    (x, sigma): (&Tensor, f64),
) -> Tensor {
    let input = x.to_kind(weights);
    let level = Tensor::full([1], sigma, (weights, x.device()));
    let evaluate = |network: &Network, views: &Views, class: Option<&Tensor>| {
        let class = class.filter(|_| network.architecture.label_dim > 0);
        network
            .denoise(
                views,
                &input,
                &level,
                Labels {
                    class,
                    augment: None,
                },
                mode,
            )
            .to_kind(Kind::Double)
    };
    let plain = evaluate(network, views, labels);
    let guided = settings.weight != 0.0 && (settings.sigma_lo..=settings.sigma_hi).contains(&sigma);
    if !guided {
        return plain;
    }
    // Only here, as a second evaluation doubles the cost of a step.
    let other = match guide {
        Guide::Unlabelled => evaluate(network, views, None),
        Guide::Weaker(weaker, weaker_views) => evaluate(weaker, weaker_views, labels),
    };
    plain * (1.0 + settings.weight) - other * settings.weight
}

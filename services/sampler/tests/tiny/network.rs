//! A network of seconds, as the tests of the sampler use it.

use cedm_diffusion::{Architecture, Network, Parameters};
use cedm_sweep::preset;
use tch::Device;

/// An untrained network of the preset `tiny8` for grey images, with so many labels.
pub fn parameters(label_dim: u32) -> (Network, Parameters) {
    let mut spec = preset("tiny8").unwrap().network;
    (spec.label_dim, spec.channels) = (label_dim, 1);
    let network = Network::new(Architecture::try_from(&spec).unwrap()).unwrap();
    let filter = &network.architecture.resample_filter;
    let own = Parameters::initial(&network.layout, filter, 1, Device::Cpu);
    (network, own)
}

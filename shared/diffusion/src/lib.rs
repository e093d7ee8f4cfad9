//! cedm-diffusion

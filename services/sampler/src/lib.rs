//! cedm-sampler

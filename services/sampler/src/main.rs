//! cedm-sampler
fn main() {}

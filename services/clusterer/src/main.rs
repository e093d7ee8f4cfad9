//! cedm-clusterer
fn main() {}

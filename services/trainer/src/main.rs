//! cedm-trainer
fn main() {}

//! cedm-evaluator
fn main() {}

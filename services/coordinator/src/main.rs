//! cedm-coordinator
fn main() {}

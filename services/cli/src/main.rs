//! cedm-cli
fn main() {}

//! cedm-bounds
fn main() {}

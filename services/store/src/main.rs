//! cedm-store
fn main() {}

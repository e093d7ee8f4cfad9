//! cedm-extractor
fn main() {}

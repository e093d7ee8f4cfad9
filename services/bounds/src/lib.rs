//! cedm-bounds

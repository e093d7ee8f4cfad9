//! cedm-cli

//! cedm-store

//! cedm-tests

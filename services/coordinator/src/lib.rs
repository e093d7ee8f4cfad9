//! cedm-coordinator

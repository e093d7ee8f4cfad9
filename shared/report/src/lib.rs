//! cedm-report

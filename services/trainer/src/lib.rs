//! cedm-trainer

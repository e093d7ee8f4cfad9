//! cedm-evaluator

//! cedm-planner

//! cedm-clustering

//! cedm-clusterer

//! cedm-extractor

//! cedm-images

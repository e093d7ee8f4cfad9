//! cedm-nets

//! cedm-maths

//! The sampler's own metrics.

cedm_runtime::metrics! {
    pub IMAGES_PER_SECOND: Gauge =
        "cedm_sample_images_per_second", "images per second",
        "Images per second of the current shard";
    pub IMAGES: Counter = "cedm_sample_images_total", "images", "Images sampled";
}

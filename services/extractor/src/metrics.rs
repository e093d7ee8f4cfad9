//! The extractor's own metrics.

cedm_runtime::metrics! {
    pub EXTRACTED: Counter =
        "cedm_extract_images_total", "images", "Images turned into features";
    pub ADAPTED: Counter =
        "cedm_adapt_images_total", "images", "Images that adaptations were trained on";
    pub ADAPT_LOSS: Gauge =
        "cedm_adapt_loss", "nats", "DINO loss of the last step of an adaptation";
    pub ADAPT_SPREAD: Gauge =
        "cedm_adapt_spread", "1",
        "Mean standard deviation of the teacher's outputs; towards 0 when training collapses";
    pub ADAPT_LEARNING_RATE: Gauge =
        "cedm_adapt_learning_rate", "1", "Learning rate of the last step of an adaptation";
}

//! The trainer's own metrics.

cedm_runtime::metrics! {
    pub LOSS: Gauge =
        "cedm_train_loss", "loss per pixel", "Mean loss per pixel over the last tick";
    pub GRADIENT_NORM: Gauge =
        "cedm_train_gradient_norm", "1", "Gradient norm of the last step of the last tick";
    pub LEARNING_RATE: Gauge =
        "cedm_train_learning_rate", "1", "Learning rate of the last step of the last tick";
    pub IMAGES_PER_SECOND: Gauge =
        "cedm_train_images_per_second", "images per second",
        "Training images per second over the last tick";
    pub RESIDENT_BYTES: Gauge =
        "cedm_train_resident_bytes", "bytes", "Resident memory at the end of the last tick";
    pub DEVICE_BYTES: Gauge =
        "cedm_train_device_bytes", "bytes",
        "GPU memory in use at the end of the last tick; 0 on a CPU";
    pub IMAGES_AT_ONCE: Gauge =
        "cedm_train_images_at_once", "images",
        "Images computed at once: the micro-batch, or fewer where memory did not suffice";
    pub IMAGES: Counter = "cedm_train_images_total", "images", "Images trained on";
    pub STEPS: Counter = "cedm_train_steps_total", "steps", "Optimiser steps";
}

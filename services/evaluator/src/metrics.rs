//! The evaluator's own metrics.

cedm_runtime::metrics! {
    pub IMAGES: Counter = "cedm_evaluate_images_total", "images", "Images measured";
    pub SCORES_MISSING: Counter =
        "cedm_evaluate_scores_missing_total", "scores",
        "Scores that could not be computed; the report gives each reason";
}

//! The coordinator's own metrics.

cedm_runtime::metrics! {
    pub PENDING: Gauge["kind"] =
        "cedm_queue_pending", "jobs", "Jobs waiting in the queue";
    pub ACK_PENDING: Gauge["kind"] =
        "cedm_queue_ack_pending", "jobs", "Jobs delivered and not acknowledged yet, or due for another delivery";
    pub REDELIVERED: Gauge["kind"] =
        "cedm_queue_redelivered", "jobs", "Jobs delivered more than once and not acknowledged yet";
    pub DEAD_LETTERS: Gauge = "cedm_dead_letters", "jobs", "Jobs in the dead letters";
    pub SWEEPS_ACTIVE: Gauge =
        "cedm_sweeps_active", "sweeps", "Sweeps that are submitted and neither done nor cancelled";
    pub LAST_PROGRESS: Gauge =
        "cedm_sweep_last_progress_timestamp_seconds", "Unix seconds", "When a job of any active sweep last finished, in Unix time";
    pub RECONCILES: Counter =
        "cedm_reconciles_total", "passes", "Times the plans of all active sweeps were compared with the stored results";
    pub RECONCILE_FAILURES: Counter =
        "cedm_reconcile_failures_total", "passes", "Reconciliations that failed and were tried again";
    pub SUBMITTED: Counter = "cedm_jobs_submitted_total", "jobs", "Jobs put into the queue";
    pub CACHE_HITS: Counter =
        "cedm_sweep_cache_hits_total", "jobs", "Jobs of sweeps whose result existed already";
    pub REPORTS: Counter = "cedm_reports_total", "reports", "Reports made";
}

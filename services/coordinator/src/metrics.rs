//! The coordinator's own metrics.

cedm_runtime::metrics! {
    pub PENDING: Gauge["kind"] =
        "cedm_queue_pending", "jobs", "Jobs in the queue that no worker has received yet";
    pub ACK_PENDING: Gauge["kind"] =
        "cedm_queue_ack_pending", "jobs", "Jobs delivered to a worker and not acknowledged yet, or waiting for redelivery";
    pub REDELIVERED: Gauge["kind"] =
        "cedm_queue_redelivered", "jobs", "Unacknowledged jobs that were delivered more than once";
    pub DELAYED: Gauge["kind"] =
        "cedm_queue_delayed", "jobs", "Jobs that wait for the time of their next try";
    pub DELAYED_OLDEST: Gauge =
        "cedm_queue_delayed_oldest_seconds", "seconds", "How long the oldest delayed job has been waiting; 0 without any, and at most ten minutes while delayed jobs come back";
    pub GAUGE_FAILURES: Counter =
        "cedm_queue_gauge_failures_total", "reads", "Failed reads of the queue's state: the gauges of the queue are older than they seem";
    pub DEAD_LETTERS: Gauge = "cedm_dead_letters", "jobs", "Jobs that were given up";
    pub SWEEPS_ACTIVE: Gauge =
        "cedm_sweeps_active", "sweeps", "Submitted sweeps that are neither done, cancelled nor paused";
    pub SWEEPS_PAUSED: Gauge =
        "cedm_sweeps_paused", "sweeps", "Submitted sweeps of which no job is started until somebody resumes them";
    pub SWEEPS_UNREADABLE: Gauge =
        "cedm_sweeps_unreadable", "sweeps", "Submitted sweeps, neither done nor cancelled, whose spec cannot be read";
    pub LAST_PROGRESS: Gauge =
        "cedm_sweep_last_progress_timestamp_seconds", "Unix seconds", "Unix time at which a job of any active sweep last finished";
    pub RECONCILES: Counter =
        "cedm_reconciles_total", "passes", "Reconciliations of all active sweeps with store and queue";
    pub RECONCILE_FAILURES: Counter =
        "cedm_reconcile_failures_total", "passes", "Reconciliations that failed and were retried";
    pub SUBMITTED: Counter = "cedm_jobs_submitted_total", "jobs", "Jobs published to the queue";
    pub CACHE_HITS: Counter =
        "cedm_sweep_cache_hits_total", "jobs", "Jobs of sweeps whose result existed before the sweep was submitted";
    pub REPORTS: Counter = "cedm_reports_total", "reports", "Reports written";
}

//! The metrics that every process has.

crate::metrics! {
    pub(crate) JOBS: Counter["kind", "outcome"] =
        "cedm_jobs_total", "attempts", "Attempts by how they ended";
    pub(crate) JOB_DURATION: JobSeconds["kind"] =
        "cedm_job_duration_seconds", "seconds", "Compute time of an attempt";
    pub(crate) QUEUE_WAIT: JobSeconds["kind"] =
        "cedm_job_queue_wait_seconds", "seconds", "Time from submission to the start of an attempt";
    pub(crate) IN_FLIGHT: Gauge = "cedm_jobs_in_flight", "jobs", "Jobs being performed";
    pub(crate) REDELIVERIES: Counter =
        "cedm_redeliveries_total", "deliveries",
        "Redeliveries of jobs";
    pub(crate) CACHE_HITS: Counter =
        "cedm_cache_hits_total", "jobs", "Jobs whose verified result existed already";
    pub(crate) SUPERSEDED: Counter =
        "cedm_superseded_total", "attempts",
        "Attempts that finished after another attempt had committed";
    pub(crate) HEARTBEAT_FAILURES: Counter =
        "cedm_heartbeat_failures_total", "heartbeats",
        "Heartbeats and progress acknowledgements that could not be sent";
    pub(crate) CHECKPOINT_AGE: Gauge =
        "cedm_checkpoint_age_seconds", "seconds",
        "Seconds since the last checkpoint of the current job, or since its start, at the scrape; 0 without a job";
    pub(crate) PROGRESS_AGE: Gauge =
        "cedm_progress_age_seconds", "seconds",
        "Seconds since the current job last showed progress, at the scrape; 0 without a job";
    pub(crate) HEARTBEAT_AGE: Gauge =
        "cedm_heartbeat_age_seconds", "seconds",
        "Seconds since the last heartbeat that was stored, at the scrape";
    pub(crate) CHECKPOINTS: Counter =
        "cedm_checkpoints_total", "checkpoints", "Checkpoints stored";
    pub(crate) CHECKPOINT_FAILURES: Counter =
        "cedm_checkpoint_failures_total", "checkpoints",
        "Checkpoints that could not be stored; the computation continued";
    pub(crate) NATS_CONNECTED: Gauge = "cedm_nats_connected", "0 or 1", "1 while NATS answers";
    pub(crate) NATS_DENIED: Gauge =
        "cedm_nats_denied_count", "requests", "Permission violations since the start";
    pub(crate) CLOCK_SKEW: Gauge =
        "cedm_clock_skew_seconds", "seconds",
        "Seconds by which the clock of this process is ahead of the broker's, negative when behind";
    pub(crate) UNDECODABLE: Counter["place"] =
        "cedm_undecodable_messages_total", "messages",
        "Distinct messages, entries and objects that this process could not decode and skipped";
    pub(crate) STORE_REQUESTS: CallSeconds["op", "outcome"] =
        "cedm_s3_request_duration_seconds", "seconds", "Duration of requests to the store";
    pub(crate) DEVICE: Gauge["device", "reason"] =
        "cedm_device_info", "1", "Where this process computes, and why there; always 1";
    pub(crate) BUILD: Gauge["version", "revision"] =
        "cedm_build_info", "1", "What this process was built from; always 1";
}

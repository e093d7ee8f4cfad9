//! A worker's identity can do a worker's work and nothing else.

use crate::harness::{Harness, job};
use cedm_contract::{Service, job_subject};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_cannot_publish_jobs_read_other_kinds_or_delete_streams() {
    let harness = Harness::start().await;
    let args = harness.args(Service::Trainer);
    let options = async_nats::ConnectOptions::with_user_and_password(
        args.nats.user.unwrap(),
        args.nats.password.unwrap(),
    )
    .custom_inbox_prefix("_INBOX_trainer")
    .request_timeout(Some(Duration::from_secs(1)));
    let client = options.connect(args.nats.url).await.unwrap();
    let job = job("smuggled");
    let smuggled = client.request(job_subject(job.kind(), job.priority, &job.key), "".into());
    assert!(smuggled.await.is_err(), "publishing a job");
    let pull = client.request(
        "$JS.API.CONSUMER.MSG.NEXT.CEDM_JOBS.fit-p1",
        r#"{"batch":1,"no_wait":true}"#.into(),
    );
    assert!(pull.await.is_err(), "pulling another kind");
    assert!(
        client
            .request("$JS.API.STREAM.DELETE.CEDM_JOBS", "".into())
            .await
            .is_err(),
        "deleting a stream"
    );
    let own = client.request(
        "$JS.API.CONSUMER.MSG.NEXT.CEDM_JOBS.train-p1",
        r#"{"batch":1,"no_wait":true}"#.into(),
    );
    assert!(own.await.is_ok(), "its own kind it may pull");
    let coordinator = harness.submitter().await;
    assert!(
        !coordinator
            .is_outstanding(job.kind(), &job.key)
            .await
            .unwrap()
    );
}

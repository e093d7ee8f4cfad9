//! The broker is lost with everything in it: a pause, not a loss.

use crate::house::{House, Story, job};
use cedm_contract::{EventWhat, Service};
use cedm_runtime::{SubmitOutcome, Submitter};

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_broker_is_rebuilt_and_workers_go_on() {
    let mut house = House::start().await;
    let connection = house.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let (before, after) = (job("before"), job("after"));
    let mut story = Story::of(&connection, &before).await;
    submitter.submit(&before).await.unwrap();
    let _worker = house.worker(&[], &[]);
    story.next(EventWhat::Done).await;
    submitter.submit(&job("lost")).await.unwrap();

    house.kill_nats();
    house.wipe_nats();
    house.start_nats();
    crate::house::eventually("the streams are made again", async || connection.ensure_streams().await.ok()).await;
    assert!(
        matches!(submitter.submit(&before).await.unwrap(), SubmitOutcome::Cached(_)),
        "results are in the store"
    );
    let mut story = Story::of(&connection, &after).await;
    submitter.submit(&after).await.unwrap();
    story.next(EventWhat::Done).await;
}

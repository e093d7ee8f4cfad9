//! The store's disk is full: jobs wait until there is room, and none becomes a dead letter.

use crate::{
    harness::{Harness, JobEvents, eventually, job},
    process::get,
};
use cedm_contract::{EventWhat, Service};
use cedm_runtime::{DeadLetters, Submitter, workers};
use std::{io::Write, path::PathBuf, process::Command};

/// A small file system, unmounted when it goes out of scope.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: PathBuf) -> Option<Self> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]);
        let mounted = command.arg(&folder).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("SKIPPED: a tmpfs cannot be mounted here, so no disk can be filled");
        None
    }

    /// Leaves no room at all.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_wait_while_the_store_is_full() {
    let mut harness = Harness::start().await;
    harness.stop_store().await;
    let Some(disk) = SmallDisk::mount(harness.root.path().join("store")) else {
        return;
    };
    std::fs::File::create(disk.0.join("lock")).unwrap();
    harness.start_store().await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let (before, waiting) = (job("before"), job("waiting"));
    let mut events = JobEvents::of(&connection, &before).await;
    submitter.submit(&before).await.unwrap();
    // A single failure that counts would make a job dead.
    let _worker = harness.worker(&["--max-attempts", "1"], &[]);
    events.next(EventWhat::Done).await;

    disk.fill();
    let mut events = JobEvents::of(&connection, &waiting).await;
    submitter.submit(&waiting).await.unwrap();
    let failed = events.next(EventWhat::Failed).await;
    assert!(
        failed.message.contains("the store's disk is full"),
        "{}",
        failed.message
    );
    let heartbeat = workers(&connection).await.unwrap().pop().unwrap();
    let address = heartbeat.metrics.strip_prefix("http://").unwrap();
    let address = address.strip_suffix("/metrics").unwrap().to_owned();
    eventually("it says why it is not ready", async || {
        let (status, why) = get(&address, "/readyz").await;
        (status == 503 && why.contains("disk is full")).then_some(())
    })
    .await;

    disk.make_room();
    events.next(EventWhat::Done).await;
    eventually("it is ready again", async || {
        (get(&address, "/readyz").await.0 == 200).then_some(())
    })
    .await;
    let letters = DeadLetters::new(&connection).list().await.unwrap();
    assert!(letters.is_empty());
}

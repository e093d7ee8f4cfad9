//! A store whose disk is full says so, and keeps what it has.

use crate::{Server, open};
use cedm_runtime::{
    chain, create_only,
    store::{Body, Store, StoreErrorKind},
};
use std::{path::Path, process::Command, time::Duration};

/// A small file system, unmounted when it goes out of scope.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(folder: &'a Path) -> Option<Self> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]);
        let mounted = command.arg(folder).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("SKIPPED: a tmpfs cannot be mounted here, so no disk can be filled");
        None
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_and_nothing_half_written_is_seen() {
    let root = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(root.path()) else {
        return;
    };
    let server = Server::start(root.path());
    let store = open(&server.endpoint).await;
    let piece = bytes::Bytes::from(vec![7; 1 << 20]);
    let mut stored = Vec::new();
    let error = loop {
        let key = format!("object/a/{}", stored.len());
        match store.put(&key, Body::Bytes(piece.clone())).await {
            Ok(()) => stored.push(key),
            Err(error) => break error,
        }
        assert!(stored.len() < 9, "8 MiB hold no nine pieces");
    };
    assert_eq!(error.kind, StoreErrorKind::Full);
    let text = chain(&error);
    assert!(text.contains("the store's disk is full"), "{text}");
    assert!(text.contains("ENOSPC"), "{text}");

    // What `cedm submit` does: it ends at once and says why.
    let begun = std::time::Instant::now();
    let large = bytes::Bytes::from(vec![1; 1 << 20]);
    let refused = create_only(&store, "sweep/a/spec", large).await;
    assert_eq!(refused.unwrap_err().kind, StoreErrorKind::Full);
    assert!(begun.elapsed() < Duration::from_secs(5));

    // In parts, too.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![3; 20 << 20]).unwrap();
    let error = store
        .put("object/a/large", Body::File(file.path()))
        .await
        .unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Full, "{}", chain(&error));

    assert_eq!(store.list("").await.unwrap().len(), stored.len());
    for key in &stored {
        assert_eq!(store.get(key).await.unwrap().unwrap(), piece);
    }
    store.delete(&stored[0]).await.unwrap();
    store
        .put(&stored[0], Body::Bytes(piece))
        .await
        .expect("it fits again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_keeps_its_reserve() {
    let root = tempfile::tempdir().unwrap();
    let folder = cedm_store::Folder::open(root.path()).unwrap();
    folder.create_bucket("cedm").unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let keys = cedm_store::Keys {
        access: crate::KEYS.0.to_owned(),
        secret: crate::KEYS.1.to_owned(),
    };
    // No disk has that much.
    let folder = folder.with_reserve(u64::MAX);
    tokio::spawn(async move { cedm_store::serve(folder, keys, listener).await });
    let store = open(&endpoint).await;
    let error = store.put("a", Body::Bytes("x".into())).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Full);
    assert!(chain(&error).contains("in reserve"), "{}", chain(&error));
    assert_eq!(store.get("a").await.unwrap(), None);
}

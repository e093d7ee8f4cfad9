//! The embedded store through the client that everything uses.

use cedm_contract::Digest;
use cedm_runtime::store::{Body, Created, S3Settings, S3Store, Store, probe_create_only};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
};

async fn open(endpoint: &str) -> Arc<dyn Store> {
    let keys = Some(("access".to_owned(), "blue-door-7".to_owned()));
    let settings = S3Settings {
        endpoint: Some(endpoint.to_owned()),
        bucket: "cedm".to_owned(),
        ..S3Settings::default()
    };
    Arc::new(S3Store::open_with(&settings, keys).await.unwrap())
}

async fn in_process(root: &std::path::Path) -> Arc<dyn Store> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let folder = cedm_store::Folder::open(root).unwrap();
    folder.create_bucket("cedm").unwrap();
    let keys = cedm_store::Keys {
        access: "access".to_owned(),
        secret: "blue-door-7".to_owned(),
    };
    tokio::spawn(async move { cedm_store::serve(folder, keys, listener).await.unwrap() });
    open(&format!("http://{address}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_racing_writers_one_wins_every_time() {
    let root = tempfile::tempdir().unwrap();
    let store = in_process(root.path()).await;
    for round in 0..60 {
        let key = format!("manifest/{round}");
        let writers = (0..8).map(|writer| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(async move {
                (
                    writer,
                    store
                        .put_if_absent(&key, format!("{writer}").into())
                        .await
                        .unwrap(),
                )
            })
        });
        let outcomes = futures::future::join_all(writers).await;
        let winners: Vec<i32> = outcomes
            .into_iter()
            .map(Result::unwrap)
            .filter(|(_, created)| *created == Created::Yes)
            .map(|(w, _)| w)
            .collect();
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        assert_eq!(
            store.get(&key).await.unwrap().unwrap(),
            winners[0].to_string(),
            "the winner's bytes are kept"
        );
    }
    probe_create_only(&store).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn small_and_large_objects_come_back_as_they_went() {
    let root = tempfile::tempdir().unwrap();
    let store = in_process(root.path()).await;
    let file = root.path().join("file");
    // None, one byte, one part, three parts with a short last one.
    for size in [0_usize, 1, 1 << 20, (40 << 20) + 12345] {
        let bytes: Vec<u8> = (0..size).map(|i| (i * 31 % 251) as u8).collect();
        std::fs::write(&file, &bytes).unwrap();
        let key = format!("object/key/attempt/size-{size}");
        store.put(&key, Body::File(&file)).await.unwrap();
        assert_eq!(store.size(&key).await.unwrap(), Some(size as u64));
        let to = root.path().join(format!("copy-{size}"));
        assert_eq!(
            store.download(&key, &to).await.unwrap(),
            Some((size as u64, Digest::of(&bytes)))
        );
        let end = (size as u64).min(700);
        let middle = store.get_range(&key, end / 2..end).await.unwrap().unwrap();
        assert_eq!(middle, bytes[end as usize / 2..end as usize]);
    }
    let listed: Vec<u64> = store
        .list("object/key/")
        .await
        .unwrap()
        .into_iter()
        .map(|listed| listed.size)
        .collect();
    assert_eq!(listed.len(), 4);
    assert_eq!(
        std::fs::read_dir(root.path().join("partial"))
            .unwrap()
            .count(),
        0,
        "no parts are left behind"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_to_be_missing_and_deleting_it_is_fine() {
    let root = tempfile::tempdir().unwrap();
    let store = in_process(root.path()).await;
    assert_eq!(store.get("a/b").await.unwrap(), None);
    assert_eq!(store.size("a/b").await.unwrap(), None);
    assert_eq!(
        store
            .download("a/b", &root.path().join("none"))
            .await
            .unwrap(),
        None
    );
    store.delete("a/b").await.unwrap();
    store.put("a/b", Body::Bytes("x".into())).await.unwrap();
    store.delete("a/b").await.unwrap();
    assert!(store.list("").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_page_is_listed_whole() {
    let root = tempfile::tempdir().unwrap();
    let store = in_process(root.path()).await;
    // Straight into the folder: 2,500 signed puts would only take time.
    let folder = root.path().join("objects/cedm/many");
    std::fs::create_dir_all(&folder).unwrap();
    for index in 0..2500 {
        std::fs::write(folder.join(format!("{index:04}")), "").unwrap();
    }
    let keys: Vec<String> = store
        .list("many/")
        .await
        .unwrap()
        .into_iter()
        .map(|listed| listed.key)
        .collect();
    assert_eq!(keys.len(), 2500);
    assert!(keys.is_sorted());
}

struct Process(Child);
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The server in a process of its own, from the same library as `cedm-store`.
fn server(root: &std::path::Path) -> (Process, String) {
    let exe = std::env::current_exe().unwrap();
    let program = exe
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/store_server");
    let mut child = Command::new(program)
        .arg(root)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    (Process(child), line.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_puts_it_shows_whole_objects_only() {
    let root = tempfile::tempdir().unwrap();
    let (process, endpoint) = server(root.path());
    let store = open(&endpoint).await;
    let bytes: Vec<u8> = (0..6 << 20).map(|i: u32| (i % 253) as u8).collect();
    let digest = Digest::of(&bytes);
    let bytes = bytes::Bytes::from(bytes);
    // Puts without end from four clients; the server is killed as soon as some have succeeded.
    let (first, mut landed) = tokio::sync::mpsc::channel(64);
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (store, bytes, first) = (store.clone(), bytes.clone(), first.clone());
            tokio::spawn(async move {
                for index in 0.. {
                    let key = format!("object/{writer}/{index}");
                    let created = store.put_if_absent(&key, bytes.clone()).await;
                    if !matches!(created, Ok(Created::Yes)) || first.send(()).await.is_err() {
                        return;
                    }
                }
            })
        })
        .collect();
    for _ in 0..6 {
        landed.recv().await.unwrap();
    }
    drop(process);
    drop(landed);
    for writer in &writers {
        writer.abort();
    }
    let (_process, endpoint) = server(root.path());
    let store = open(&endpoint).await;
    let listed = store.list("object/").await.unwrap();
    assert!(listed.len() >= 6);
    for object in listed {
        let found = store.get(&object.key).await.unwrap().unwrap();
        assert_eq!(Digest::of(&found), digest, "{}", object.key);
    }
    assert_eq!(
        std::fs::read_dir(root.path().join("partial"))
            .unwrap()
            .count(),
        0,
        "leftovers are cleared at the start"
    );
}

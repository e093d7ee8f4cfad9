//! What a service's own key pair allows, and each act that it does not.

use cedm_contract::Service;
use cedm_runtime::{
    deploy::{Credentials, render_store_policy},
    store::{Body, Created, S3Settings, S3Store, Store, StoreErrorKind, probe_create_only},
};
use std::sync::Arc;

/// A store with the policy of a local system.
async fn serve(root: &std::path::Path, credentials: &Credentials) -> String {
    let folder = cedm_store::Folder::open(root).unwrap();
    folder.create_bucket("cedm").unwrap();
    let policy = cedm_store::Policy::parse(&render_store_policy(credentials)).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { cedm_store::serve(folder, policy, listener).await });
    endpoint
}

async fn store_of(keys: (String, String), endpoint: &str) -> S3Store {
    let settings = S3Settings {
        endpoint: Some(endpoint.to_owned()),
        bucket: "cedm".to_owned(),
        ..S3Settings::default()
    };
    S3Store::open_with(&settings, Some(keys)).await.unwrap()
}

/// Keys of everything that a system stores.
const EXISTING: [&str; 9] = [
    "manifest/a",
    "object/a/1/x",
    "checkpoint/a/1",
    "blob/a",
    "dataset/a",
    "sweep/a/spec",
    "system/identity",
    "suspect/manifest/a/1",
    "suspect/notice/a",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_service_can_do_its_work_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let credentials = Credentials::generate();
    let endpoint = serve(root.path(), &credentials).await;
    let cli = store_of(credentials.s3_keys(Service::Cli), &endpoint).await;
    for key in EXISTING {
        cli.put(key, Body::Bytes("sound".into())).await.unwrap();
    }
    for service in [
        Service::Extractor,
        Service::Clusterer,
        Service::Bounds,
        Service::Trainer,
        Service::Sampler,
        Service::Evaluator,
    ] {
        let store = store_of(credentials.s3_keys(service), &endpoint).await;
        let has_checkpoints = matches!(
            service,
            Service::Extractor | Service::Clusterer | Service::Trainer
        );
        for key in EXISTING {
            assert_eq!(store.get(key).await.unwrap().unwrap(), "sound", "{key}");
            let may_delete = has_checkpoints && key.starts_with("checkpoint/");
            let may_put = may_delete || key.starts_with("object/");
            if !may_delete {
                let error = store.delete(key).await.unwrap_err();
                assert_eq!(error.kind, StoreErrorKind::Denied, "{service} delete {key}");
            }
            if !may_put {
                let put = store.put(key, Body::Bytes("evil".into())).await;
                assert_eq!(
                    put.unwrap_err().kind,
                    StoreErrorKind::Denied,
                    "{service} put {key}"
                );
            }
        }
        for key in [
            "dataset/b",
            "sweep/b/spec",
            "system/b",
            "blob/b",
            "suspect/manifest/b/1",
        ] {
            let created = store.put_if_absent(key, "evil".into()).await;
            assert_eq!(
                created.unwrap_err().kind,
                StoreErrorKind::Denied,
                "{service} create {key}"
            );
        }
        // A large file goes up in parts, which is no way around.
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![1; 17 << 20]).unwrap();
        let put = store.put("manifest/a", Body::File(file.path())).await;
        assert_eq!(
            put.unwrap_err().kind,
            StoreErrorKind::Denied,
            "{service} in parts"
        );

        // Its work.
        let name = format!("manifest/{service}");
        let created = store.put_if_absent(&name, "{}".into()).await.unwrap();
        assert_eq!(created, Created::Yes);
        assert_eq!(
            store
                .put_if_absent("manifest/a", "{}".into())
                .await
                .unwrap(),
            Created::Exists
        );
        let output = format!("object/{service}/1/x");
        store.put(&output, Body::File(file.path())).await.unwrap();
        if has_checkpoints {
            let key = format!("checkpoint/{service}/1");
            store.put(&key, Body::Bytes("x".into())).await.unwrap();
            assert_eq!(store.list("checkpoint/").await.unwrap().len(), 2);
            store.delete(&key).await.unwrap();
        }
        let store: Arc<dyn Store> = Arc::new(store);
        probe_create_only(&store).await.unwrap();
    }
    for key in EXISTING {
        assert_eq!(cli.get(key).await.unwrap().unwrap(), "sound", "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_nobody_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let credentials = Credentials::generate();
    let endpoint = serve(root.path(), &credentials).await;
    let (access, _) = credentials.s3_keys(Service::Cli);
    let (_, secret) = credentials.s3_keys(Service::Sampler);
    for keys in [("nobody".to_owned(), secret.clone()), (access, secret)] {
        let store = store_of(keys, &endpoint).await;
        let error = store.list("").await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Misconfigured);
    }
}

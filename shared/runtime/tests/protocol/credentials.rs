//! Who connects to NATS, and how: files that are renewed, credentials that stay refused, TLS,
//! nkeys, domains, and servers that cannot do what the protocol needs.

use crate::{
    harness::{Harness, JobEvents, eventually, free_address, job},
    nats_server::NatsServer,
    process::{address, get},
};
use cedm_contract::{EventWhat, Service};
use cedm_runtime::{
    Bucket, ConnectArgs, Connection, NatsArgs, SYSTEM, SubmitOutcome, Submitter, queue_depths,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::Path;

/// The harness's store with another server.
fn args(harness: &Harness, nats: NatsArgs) -> ConnectArgs {
    ConnectArgs {
        nats,
        ..harness.args(Service::Coordinator)
    }
}

async fn refused(args: &ConnectArgs) -> String {
    let error = Connection::open(args, "coordinator").await.err();
    cedm_runtime::chain(&error.expect("it does not connect"))
}

/// The worker reads its password anew at each connection: a renewed one works without a restart, a
/// wrong one is no reason to live for ever, and a right one brings it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_file_is_read_at_each_connection() {
    let harness = Harness::start().await;
    let config = |password: &str| {
        format!(
            "jetstream {{ store_dir: js }}\nauthorization {{ users: [\n{{ user: admin, password: fixed }}\n\
             {{ user: worker, password: {password} }}\n] }}"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("js");
    let config = |password: &str| config(password).replace("js }", &format!("{store:?} }}"));
    let server = NatsServer::start(folder, &config("first"));
    let file = server.write("password", "first\n");
    let url = format!("nats://{}", server.address);
    let admin = NatsArgs {
        url: url.replace("nats://", "nats://admin:fixed@"),
        ..NatsArgs::default()
    };
    let connection = Connection::open(&args(&harness, admin), "coordinator")
        .await
        .unwrap();
    connection.ensure_streams().await.unwrap();
    let _worker = harness.worker(
        &[],
        &[
            ("CEDM_NATS_URL", &url),
            ("CEDM_NATS_USER", "worker"),
            ("CEDM_NATS_PASSWORD_FILE", file.to_str().unwrap()),
            ("CEDM_CONNECT_TIMEOUT_S", "5"),
        ],
    );
    let address = address(&connection).await;
    let status = async |path| get(&address, path).await;
    let works = async |name: &str| {
        let job = job(name);
        let mut events = JobEvents::of(&connection, &job).await;
        let submitter = Submitter::new(&connection);
        assert!(matches!(
            submitter.submit(&job).await.unwrap(),
            SubmitOutcome::Queued
        ));
        events.next(EventWhat::Done).await;
    };
    works("before").await;

    server.write("password", "second");
    server.reload(&config("second"));
    works("after a new password").await;

    server.reload(&config("third"));
    let why = eventually("it is not alive", async || {
        let (code, why) = status("/livez").await;
        (code == 503).then_some(why)
    })
    .await;
    assert!(why.contains("authorization violation"), "{why}");
    let (code, why) = status("/readyz").await;
    assert!(
        code == 503 && why.contains("refuses the credentials"),
        "{why}"
    );

    std::fs::remove_file(&file).unwrap();
    eventually("it names the file", async || {
        status("/readyz")
            .await
            .1
            .contains(file.to_str().unwrap())
            .then_some(())
    })
    .await;
    server.write("password", "third");
    works("and back").await;
    assert_eq!(status("/livez").await.0, 200);
}

/// An authority, and files of certificates that it has signed.
fn certificates(folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}-key.pem")), key.serialize_pem()).unwrap();
    }
}

/// TLS in both directions, an nkey, a JetStream domain, and a list of servers of which the first is
/// down. Whatever is missing is an error at once, and no error names a secret.
#[tokio::test(flavor = "multi_thread")]
async fn tls_nkeys_and_domains() {
    let harness = Harness::start().await;
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let path = |name: &str| folder.path().join(name);
    let key = nkeys::KeyPair::new_user();
    std::fs::write(path("seed"), key.seed().unwrap()).unwrap();
    let stranger = nkeys::KeyPair::new_user().seed().unwrap();
    std::fs::write(path("stranger"), &stranger).unwrap();
    let config = format!(
        "jetstream {{ store_dir: {:?}, domain: hub }}\n\
         tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}\n\
         authorization {{ users: [ {{ nkey: {} }} ] }}",
        path("js"),
        path("server.pem"),
        path("server-key.pem"),
        path("ca.pem"),
        key.public_key()
    );
    let settings = NatsArgs {
        ca_file: Some(path("ca.pem")),
        cert_file: Some(path("client.pem")),
        key_file: Some(path("client-key.pem")),
        nkey_file: Some(path("seed")),
        domain: Some("hub".to_owned()),
        ..NatsArgs::default()
    };
    let (stranger_file, missing) = (path("stranger"), path("nothing.pem"));
    let server = NatsServer::start(folder, &config);
    let url = format!(
        "nats://{}, nats://localhost:{}",
        free_address(),
        server.address.port()
    );
    let settings = NatsArgs { url, ..settings };

    let connection = Connection::open(&args(&harness, settings.clone()), "coordinator")
        .await
        .unwrap();
    connection.ensure_streams().await.unwrap();
    connection.await_streams().await.unwrap();
    let job = job("hello");
    let outcome = Submitter::new(&connection).submit(&job).await.unwrap();
    assert!(matches!(outcome, SubmitOutcome::Queued));
    let depths = queue_depths(&connection).await.unwrap();
    assert_eq!(depths.iter().map(|depth| depth.pending).sum::<u64>(), 1);
    let bucket = Bucket::open(&connection, SYSTEM).await.unwrap();
    bucket.put("one", "two").await.unwrap();
    assert_eq!(
        bucket.get("one").await.unwrap().unwrap().value.unwrap(),
        "two"
    );
    let by_prefix = NatsArgs {
        domain: None,
        api_prefix: Some("$JS.hub.API".to_owned()),
        ..settings.clone()
    };
    let same = Connection::open(&args(&harness, by_prefix), "coordinator")
        .await
        .unwrap();
    assert_eq!(queue_depths(&same).await.unwrap(), depths);

    for (nats, says) in [
        (
            NatsArgs {
                ca_file: None,
                ..settings.clone()
            },
            "TLS",
        ),
        (
            NatsArgs {
                cert_file: None,
                key_file: None,
                ..settings.clone()
            },
            "TLS",
        ),
        (
            NatsArgs {
                ca_file: Some(missing),
                ..settings.clone()
            },
            "nothing.pem",
        ),
        (
            NatsArgs {
                nkey_file: Some(stranger_file),
                ..settings.clone()
            },
            "authorization violation",
        ),
        (
            NatsArgs {
                user: Some("ann".to_owned()),
                ..settings.clone()
            },
            "CEDM_NATS_NKEY_FILE",
        ),
        (
            NatsArgs {
                domain: Some("elsewhere".to_owned()),
                ..settings
            },
            "no JetStream",
        ),
    ] {
        let error = refused(&args(&harness, nats)).await;
        assert!(
            error.contains(says) && !error.contains(&stranger),
            "{says}: {error}"
        );
    }
}

/// Said at the connection, not by a time-out of the first request that needs it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_jetstream_is_refused() {
    let harness = Harness::start().await;
    let server = NatsServer::start(tempfile::tempdir().unwrap(), "max_payload: 256KB");
    let nats = NatsArgs {
        url: format!("nats://ann:s3cret@{}", server.address),
        ..NatsArgs::default()
    };
    let error = refused(&args(&harness, nats)).await;
    assert!(
        error.contains("has no JetStream") && error.contains("-js"),
        "{error}"
    );
    assert!(!error.contains("s3cret"), "{error}");
}

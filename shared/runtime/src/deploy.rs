//! What a deployment needs as files: the NATS and Prometheus configuration that `cedm up` starts
//! them with, the credentials of every service, and the environment that hands them over. The
//! templates are in `deploy/`.

mod credentials;
mod store_policy;

pub use credentials::Credentials;
pub use store_policy::{allowed_objects, render_store_policy};

use crate::{
    bucket::{LEASES, SYSTEM, WORKERS},
    streams::consumer_name,
};
use cedm_contract::{
    ADVISORIES_STREAM, DEAD_STREAM, DELAYS_STREAM, EVENTS_STREAM, JOBS_STREAM, Names, Priority,
    Service, filters,
};
use std::{fmt::Write, net::SocketAddr, path::Path};

const NATS: &str = include_str!("../../../deploy/nats-server.conf");
const PROMETHEUS: &str = include_str!("../../../deploy/prometheus.yml");

/// Prometheus' recording rules and alerts, the text of `dashboards/rules.yml`.
pub const PROMETHEUS_RULES: &str = include_str!("../../../dashboards/rules.yml");

/// Identities that create streams and submit jobs; all others get what their own kinds need and
/// nothing else.
const BOOTSTRAP: [Service; 2] = [Service::Coordinator, Service::Cli];

/// A NATS server of one machine.
#[derive(Debug, Clone)]
pub struct NatsSettings<'a> {
    /// Address and port at which clients connect.
    pub listen: SocketAddr,
    /// Monitoring port, if wanted.
    pub monitor: Option<SocketAddr>,
    /// Folder in which JetStream keeps its streams.
    pub store_dir: &'a Path,
    /// The identities that may connect.
    pub credentials: &'a Credentials,
    /// What the installation's streams and subjects are called.
    pub names: &'a Names,
}

/// The configuration file of `nats-server`.
pub fn render_nats(settings: &NatsSettings<'_>) -> String {
    let mut users = String::new();
    for service in std::iter::once(Service::Cli).chain(Service::RUNNING.iter().copied()) {
        let (name, password) = (
            service.name(),
            quoted(settings.credentials.nats_password(service)),
        );
        let permissions = if BOOTSTRAP.contains(&service) {
            String::new()
        } else {
            format!(", permissions: {}", permissions(service, settings.names))
        };
        writeln!(
            users,
            "        {{ user: {name}, password: {password}{permissions} }}"
        )
        .expect("invariant: writing to a string succeeds");
    }
    let monitor = settings
        .monitor
        .map_or(String::new(), |address| format!("http: \"{address}\""));
    NATS.replace("{{listen}}", &settings.listen.to_string())
        .replace("{{monitor}}", &monitor)
        .replace(
            "{{store_dir}}",
            &quoted(&settings.store_dir.display().to_string()),
        )
        .replace("{{users}}", users.trim_end())
}

/// Subjects that a worker may publish to and subscribe to, in an installation with these names.
pub fn allowed_subjects(service: Service, names: &Names) -> (Vec<String>, Vec<String>) {
    let streams = [
        JOBS_STREAM,
        DELAYS_STREAM,
        EVENTS_STREAM,
        ADVISORIES_STREAM,
        DEAD_STREAM,
    ];
    let bucket = |name| names.bucket(name);
    let (leases, system) = (bucket(LEASES), bucket(SYSTEM));
    let mut publish: Vec<String> = streams.map(|stream| names.stream(stream)).to_vec();
    publish.extend([WORKERS, LEASES, SYSTEM].map(|name| format!("KV_{}", bucket(name))));
    for stream in &mut publish {
        *stream = format!("$JS.API.STREAM.INFO.{stream}");
    }
    publish.extend([
        format!("$KV.{}.*", bucket(WORKERS)),
        format!("$KV.{leases}.*"),
        // Taking a lease reads the entry that is in the way.
        format!("$JS.API.DIRECT.GET.KV_{leases}.>"),
        format!("$JS.API.STREAM.MSG.GET.KV_{leases}"),
        // Which store is the coordinator's.
        format!("$JS.API.DIRECT.GET.KV_{system}.>"),
        format!("$JS.API.STREAM.MSG.GET.KV_{system}"),
    ]);
    let mut subscribe = vec![format!("_INBOX_{}.>", service.name())];
    let jobs = names.stream(JOBS_STREAM);
    for kind in service.kinds() {
        for priority in Priority::ALL {
            let consumer = consumer_name(kind, priority);
            let lane = names.to_wire(&filters::lane(kind, priority));
            publish.push(format!("$JS.API.CONSUMER.MSG.NEXT.{jobs}.{consumer}"));
            publish.push(format!("$JS.ACK.{jobs}.{consumer}.>"));
            // Its own consumer, with its own filter, where somebody has removed it.
            publish.push(format!("$JS.API.CONSUMER.CREATE.{jobs}.{consumer}.{lane}"));
        }
        let all = [
            filters::events_of,
            filters::delays_of,
            filters::dead_of_kind,
        ];
        publish.extend(all.map(|of| names.to_wire(&of(kind))));
        // Being woken by a job's publication; the job itself comes through the consumer.
        subscribe.push(names.to_wire(&filters::jobs_of(Some(kind))));
    }
    (publish, subscribe)
}

fn permissions(service: Service, names: &Names) -> String {
    let (publish, subscribe) = allowed_subjects(service, names);
    let list = |subjects: &[String]| {
        subjects
            .iter()
            .map(|subject| quoted(subject))
            .collect::<Vec<_>>()
            .join(", ")
    };
    format!(
        "{{ publish: {{ allow: [{}] }}, subscribe: {{ allow: [{}] }} }}",
        list(&publish),
        list(&subscribe)
    )
}

/// A quoted string as nats-server's configuration and YAML both read it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The configuration file of Prometheus: scrapes the targets that `targets` lists, evaluates the
/// rules of `rule_files`.
pub fn render_prometheus(targets: &Path, rule_files: &[&Path], scrape_interval_s: u64) -> String {
    let rules: Vec<String> = rule_files
        .iter()
        .map(|path| quoted(&path.display().to_string()))
        .collect();
    PROMETHEUS
        .replace("{{scrape_interval}}", &format!("{scrape_interval_s}s"))
        .replace("{{rule_files}}", &format!("[{}]", rules.join(", ")))
        .replace("{{targets}}", &quoted(&targets.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_in_completely() {
        let credentials = Credentials::generate();
        let settings = NatsSettings {
            listen: "127.0.0.1:4222".parse().unwrap(),
            monitor: Some("127.0.0.1:8222".parse().unwrap()),
            store_dir: Path::new("/tmp/a folder"),
            credentials: &credentials,
            names: &Names::default(),
        };
        let nats = render_nats(&settings);
        assert!(!nats.contains("{{"), "{nats}");
        assert!(
            nats.contains("sync_interval: always")
                && nats.contains(r#"store_dir: "/tmp/a folder""#)
        );
        let prometheus = render_prometheus(Path::new("/t.json"), &[Path::new("/r.yml")], 5);
        assert!(!prometheus.contains("{{"), "{prometheus}");
    }

    #[test]
    fn a_worker_may_not_publish_jobs_or_touch_streams() {
        let (publish, _) = allowed_subjects(Service::Trainer, &Names::default());
        assert!(publish.contains(&"cedm.evt.train.>".to_owned()));
        for forbidden in [
            "cedm.job.",
            "cedm.evt.sample.",
            "$JS.API.STREAM.DELETE",
            "$JS.API.STREAM.CREATE",
            "$JS.API.CONSUMER.DURABLE",
            "$JS.API.CONSUMER.CREATE.CEDM_JOBS.sample",
        ] {
            assert!(
                !publish.iter().any(|subject| subject.starts_with(forbidden)),
                "{forbidden}"
            );
        }
    }

    #[test]
    fn permissions_of_one_prefix_reach_nothing_of_another() {
        let (publish, subscribe) = allowed_subjects(Service::Trainer, &"other".parse().unwrap());
        for subject in publish.iter().chain(&subscribe) {
            let is_own = ["other.", "OTHER_", "_INBOX_trainer"]
                .iter()
                .any(|own| subject.contains(own));
            assert!(
                is_own && !subject.contains("cedm.") && !subject.contains("CEDM_"),
                "{subject}"
            );
        }
    }
}

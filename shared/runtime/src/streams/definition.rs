//! The content of `deploy/jetstream.toml`, as configurations of the broker.

use super::{Delivering, consumer_name, ownership};
use async_nats::jetstream::{
    consumer::{AckPolicy, pull},
    stream::{self, DiscardPolicy, RetentionPolicy, StorageType},
};
use cedm_contract::{Kind, Names, Priority, filters};
use serde::Deserialize;
use std::time::Duration;

const DEFINITION: &str = include_str!("../../../../deploy/jetstream.toml");

/// Streams, buckets and consumer settings of an installation.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Definition {
    stream: Vec<Stream>,
    bucket: Vec<Bucket>,
    pub(super) consumer: Consumer,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stream {
    name: String,
    description: String,
    subjects: Vec<String>,
    retention: Retention,
    discard: Discard,
    #[serde(default)]
    discard_new_per_subject: bool,
    #[serde(default = "unlimited")]
    max_msgs_per_subject: i64,
    #[serde(default = "unlimited_i32")]
    max_msg_bytes: i32,
    #[serde(default)]
    max_age_s: u64,
    #[serde(default = "unlimited")]
    max_bytes: i64,
    #[serde(default)]
    duplicate_window_s: u64,
    #[serde(default)]
    schedules: bool,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Retention {
    WorkQueue,
    Limits,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Discard {
    New,
    Old,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bucket {
    name: String,
    description: String,
    history: i64,
    #[serde(default)]
    ttl_s: u64,
}

/// Settings of every consumer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Consumer {
    pub(super) ack_wait_s: u64,
    pub(super) max_deliver: i64,
    max_ack_pending: i64,
}

fn unlimited() -> i64 {
    -1
}
fn unlimited_i32() -> i32 {
    -1
}

impl Definition {
    /// That of the installation with these names.
    pub(super) fn of(names: &Names) -> Self {
        let prefix = names.prefix();
        let text = DEFINITION
            .replace("{{prefix}}", prefix)
            .replace("{{PREFIX}}", &prefix.to_ascii_uppercase());
        toml::from_str(&text)
            .expect("invariant: deploy/jetstream.toml is part of the build and a test parses it")
    }

    /// Every stream, those of the buckets included, with the mark of ownership.
    pub(super) fn configs(&self, names: &Names) -> Vec<stream::Config> {
        let streams = self.stream.iter().map(Stream::config);
        let all = streams.chain(self.bucket.iter().map(Bucket::config));
        all.map(|config| stream::Config {
            metadata: ownership::mark(names),
            num_replicas: 1,
            storage: StorageType::File,
            allow_direct: true,
            ..config
        })
        .collect()
    }
}

impl Stream {
    fn config(&self) -> stream::Config {
        stream::Config {
            name: self.name.clone(),
            description: Some(self.description.clone()),
            subjects: self.subjects.clone(),
            retention: match self.retention {
                Retention::WorkQueue => RetentionPolicy::WorkQueue,
                Retention::Limits => RetentionPolicy::Limits,
            },
            discard: match self.discard {
                Discard::New => DiscardPolicy::New,
                Discard::Old => DiscardPolicy::Old,
            },
            discard_new_per_subject: self.discard_new_per_subject,
            max_messages_per_subject: self.max_msgs_per_subject,
            max_message_size: self.max_msg_bytes,
            max_age: Duration::from_secs(self.max_age_s),
            max_bytes: self.max_bytes,
            duplicate_window: Duration::from_secs(self.duplicate_window_s),
            allow_message_schedules: self.schedules,
            ..Default::default()
        }
    }
}

impl Bucket {
    /// The stream of a key-value bucket, as every NATS client makes it.
    fn config(&self) -> stream::Config {
        stream::Config {
            name: format!("KV_{}", self.name),
            description: Some(self.description.clone()),
            subjects: vec![format!("$KV.{}.>", self.name)],
            max_messages_per_subject: self.history,
            max_age: Duration::from_secs(self.ttl_s),
            discard: DiscardPolicy::New,
            allow_rollup: true,
            deny_delete: true,
            ..Default::default()
        }
    }
}

impl Consumer {
    /// The durable consumer of a lane.
    pub(super) fn config(
        &self,
        names: &Names,
        kind: Kind,
        priority: Priority,
        delivering: Delivering,
    ) -> pull::Config {
        pull::Config {
            durable_name: Some(consumer_name(kind, priority)),
            filter_subject: names.to_wire(&filters::lane(kind, priority)),
            ack_policy: AckPolicy::Explicit,
            ack_wait: delivering.ack_wait,
            max_deliver: delivering.max_deliver,
            max_ack_pending: self.max_ack_pending,
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedm_contract::{DEAD_STREAM, DELAYS_STREAM, EVENTS_STREAM, JOBS_STREAM};

    #[test]
    fn the_definition_holds_what_the_protocol_needs() {
        for names in [Names::default(), "other-2".parse().unwrap()] {
            let configs = Definition::of(&names).configs(&names);
            let config = |name: &str| {
                let found = configs
                    .iter()
                    .find(|config| config.name == names.stream(name));
                found.unwrap_or_else(|| panic!("{name}"))
            };
            let jobs = config(JOBS_STREAM);
            assert!(jobs.discard_new_per_subject && jobs.max_messages_per_subject == 1);
            assert!(matches!(
                (jobs.retention, jobs.discard),
                (RetentionPolicy::WorkQueue, DiscardPolicy::New)
            ));
            assert!(config(DELAYS_STREAM).allow_message_schedules);
            // What grows with what happens cannot take the room of the queue.
            for bounded in [EVENTS_STREAM, cedm_contract::ADVISORIES_STREAM, DEAD_STREAM] {
                let config = config(bounded);
                assert!(config.max_bytes > 0, "{bounded}");
                assert_eq!(config.discard, DiscardPolicy::Old, "{bounded}");
            }
            assert_eq!(configs.len(), 9);
            for config in &configs {
                let text = format!("{:?} {}", config.subjects, config.name);
                assert!(!text.contains("{{") && config.num_replicas == 1, "{text}");
                let is_ours = |subject: &String| {
                    let prefix = names.prefix();
                    subject.starts_with(&format!("{prefix}."))
                        || subject.contains(&format!("{}_", prefix.to_uppercase()))
                };
                assert!(config.subjects.iter().all(is_ours), "{text}");
                assert_eq!(config.metadata, ownership::mark(&names));
            }
        }
    }
}

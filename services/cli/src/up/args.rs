//! Options of `cedm up`.

use super::UpRequest;
use cedm_contract::Service;
use clap::Args;
use std::{collections::BTreeMap, time::Duration};

/// Options of `cedm up`.
#[derive(Args, Debug)]
pub struct UpArgs {
    /// Return when the system is ready, and leave it running in the background
    #[arg(long)]
    pub detach: bool,
    /// Processes per service, such as `sampler=2,evaluator=2`; the default is one of each, and `=0`
    /// starts none
    #[arg(long, value_name = "SERVICE=N,…", value_delimiter = ',', value_parser = worker_count)]
    pub workers: Vec<(Service, u32)>,
    /// Also start Prometheus, scraping every service (it must be installed)
    #[arg(long)]
    pub prometheus: bool,
    /// Stop when standard input ends, that is, when the process that started this one exits
    #[arg(long)]
    pub exit_with_parent: bool,
    /// Kill a service, and start it again, when its /livez has given no good answer for so many
    /// seconds
    #[arg(long, value_name = "S", default_value = "60", value_parser = whole_seconds)]
    pub dead_after: Duration,
    /// Run in a new session, unaffected by a closing terminal; set by `--detach`
    #[arg(long, hide = true)]
    pub own_session: bool,
}

impl UpArgs {
    /// The processes that these options ask for.
    pub fn request(&self) -> UpRequest {
        UpRequest {
            workers: self.workers.iter().copied().collect::<BTreeMap<_, _>>(),
            prometheus: self.prometheus,
            dead_after: Some(self.dead_after),
        }
    }
}

fn whole_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| (1..=86_400).contains(seconds));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| format!("`{text}`: expected a number of seconds from 1 to 86400"))
}

fn worker_count(text: &str) -> Result<(Service, u32), String> {
    let names = || {
        Service::RUNNING
            .iter()
            .map(|service| service.name())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (name, count) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}`: expected SERVICE=N"))?;
    let service = Service::RUNNING
        .iter()
        .copied()
        .find(|service| service.name() == name);
    let service =
        service.ok_or_else(|| format!("unknown service `{name}`: expected one of {}", names()))?;
    let count = count.parse().ok().filter(|count| *count <= 256);
    Ok((
        service,
        count.ok_or_else(|| format!("`{text}`: expected a number from 0 to 256 after the ="))?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_counts_name_a_service_and_a_number() {
        assert_eq!(worker_count("sampler=2"), Ok((Service::Sampler, 2)));
        assert!(worker_count("sampler").unwrap_err().contains("SERVICE=N"));
        assert!(worker_count("painter=1").unwrap_err().contains("evaluator"));
        assert!(worker_count("sampler=many").unwrap_err().contains("number"));
        assert_eq!(whole_seconds("7"), Ok(Duration::from_secs(7)));
        for wrong in ["0", "-1", "1.5", "86401", ""] {
            assert!(whole_seconds(wrong).is_err(), "{wrong}");
        }
    }
}

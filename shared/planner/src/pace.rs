//! How much of a sweep is left, in seconds of workers, by the pace of its own finished jobs.

use crate::{Node, State, distinct};
use cedm_contract::{JobKey, Kind, Service};
use cedm_sweep::outcome::LineageNode;
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// What is left of one kind of job.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KindPace {
    /// Kind of the jobs.
    pub kind: Kind,
    /// Jobs that are not done and can still be.
    pub jobs_left: u64,
    /// Seconds that a worker needs for these; `None` while no job of the kind is done that was
    /// computed for this sweep.
    pub seconds_left: Option<f64>,
}

/// What is left by kind, in the order of the pipeline; kinds without jobs left are left out. A
/// worker's time for a job is that between its start and its manifest, in proportion to the work.
pub fn pace(nodes: &[Node], lineage: &[LineageNode]) -> Vec<KindPace> {
    let made: HashMap<&JobKey, f64> = lineage
        .iter()
        .filter(|job| !job.cached)
        .map(|job| {
            let (from, to) = (job.timings.started_ms, job.timings.finished_ms);
            (&job.key, to.saturating_sub(from) as f64 / 1000.0)
        })
        .collect();
    #[derive(Default)]
    struct Sum {
        jobs_left: u64,
        work_left: f64,
        work_done: f64,
        seconds: f64,
    }
    let mut sums: BTreeMap<Kind, Sum> = BTreeMap::new();
    for node in distinct(nodes).filter(|node| node.kind.is_queued()) {
        let key = node.job.as_ref().map(|job| &job.key);
        let sum = sums.entry(node.kind).or_default();
        match &node.state {
            State::Done { .. } => {
                if let Some(seconds) = key.and_then(|key| made.get(key)) {
                    sum.work_done += node.work.amount;
                    sum.seconds += seconds;
                }
            }
            State::Ready | State::Waiting { .. } => {
                sum.jobs_left += 1;
                sum.work_left += node.work.amount;
            }
            State::Dead { .. } | State::Blocked { .. } => {}
        }
    }
    let left = sums.into_iter().filter(|(_, sum)| sum.jobs_left > 0);
    left.map(|(kind, sum)| KindPace {
        kind,
        jobs_left: sum.jobs_left,
        seconds_left: (sum.work_done > 0.0).then(|| sum.seconds / sum.work_done * sum.work_left),
    })
    .collect()
}

/// The time until a sweep is done, between two limits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimeLeft {
    /// If all services work at the same time: that of the slowest.
    pub least: Duration,
    /// If each begins when the one before has ended: the sum. While a search for C_max runs, its
    /// later steps are not known and not included.
    pub most: Duration,
    /// Kinds of which no job has been done yet; their time is not included.
    pub unmeasured: Vec<Kind>,
    /// Services of which jobs are left and no process runs; their time is not included.
    pub absent: Vec<Service>,
}

/// The time that is left at this pace, with so many processes of each service. `None` when nothing
/// can be said: no kind of what is left has been measured, and every service runs.
pub fn time_left(paces: &[KindPace], workers: &BTreeMap<Service, u64>) -> Option<TimeLeft> {
    let mut left = TimeLeft {
        least: Duration::ZERO,
        most: Duration::ZERO,
        unmeasured: Vec::new(),
        absent: Vec::new(),
    };
    let mut by_service: BTreeMap<Service, f64> = BTreeMap::new();
    // More processes than jobs do not help; of several kinds the largest number counts.
    let mut at_once: BTreeMap<Service, u64> = BTreeMap::new();
    for pace in paces {
        let service = pace.kind.service();
        match pace.seconds_left {
            _ if workers.get(&service).copied().unwrap_or(0) == 0 => {
                if !left.absent.contains(&service) {
                    left.absent.push(service);
                }
            }
            None => left.unmeasured.push(pace.kind),
            Some(seconds) => {
                *by_service.entry(service).or_default() += seconds;
                let jobs = at_once.entry(service).or_default();
                *jobs = pace.jobs_left.max(*jobs);
            }
        }
    }
    if by_service.is_empty() && left.absent.is_empty() {
        return None;
    }
    for (service, seconds) in by_service {
        let processes = workers.get(&service).copied().unwrap_or(1);
        let jobs = at_once.get(&service).copied().unwrap_or(1);
        let processes = processes.min(jobs).max(1);
        let time = Duration::try_from_secs_f64(seconds / processes as f64).unwrap_or(Duration::MAX);
        left.least = left.least.max(time);
        left.most = left.most.saturating_add(time);
    }
    Some(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixtures::TOML, plan, tests::finished};

    /// Of the samples a third is left, each image at the pace of the others.
    #[test]
    fn what_is_left_goes_on_at_the_pace_of_what_is_done() {
        let (sweep, observed, mut outcome) = finished(TOML);
        let mut nodes = plan(&sweep, &observed).nodes;
        assert_eq!(pace(&nodes, &outcome.lineage), []);
        for job in &mut outcome.lineage {
            job.cached = false;
            (job.timings.started_ms, job.timings.finished_ms) = (5_000, 7_000);
        }
        let samples: Vec<&mut Node> = nodes
            .iter_mut()
            .filter(|node| node.kind == Kind::Sample)
            .collect();
        let (third, all) = (samples.len() / 3, samples.len());
        let (mut work_left, mut work_done) = (0.0, 0.0);
        for (at, node) in samples.into_iter().enumerate() {
            if at < third {
                node.state = State::Ready;
                work_left += node.work.amount;
            } else {
                work_done += node.work.amount;
            }
        }
        let left = pace(&nodes, &outcome.lineage);
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(
            (left[0].kind, left[0].jobs_left),
            (Kind::Sample, third as u64)
        );
        let expected = 2.0 * (all - third) as f64 / work_done * work_left;
        let found = left[0].seconds_left.unwrap();
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        // What an earlier sweep made says nothing of this one's machines.
        outcome.lineage.iter_mut().for_each(|job| job.cached = true);
        assert_eq!(pace(&nodes, &outcome.lineage)[0].seconds_left, None);
    }

    #[test]
    fn the_time_left_is_between_all_at_once_and_one_after_the_other() {
        let of = |kind, seconds_left| KindPace {
            kind,
            jobs_left: 4,
            seconds_left,
        };
        let paces = [
            of(Kind::Train, Some(100.0)),
            of(Kind::Sample, Some(60.0)),
            of(Kind::SampleSet, Some(4.0)),
            of(Kind::Score, None),
            of(Kind::Bound, Some(9.0)),
        ];
        let workers = [
            (Service::Trainer, 1),
            (Service::Sampler, 2),
            (Service::Evaluator, 3),
        ];
        let left = time_left(&paces, &workers.into()).unwrap();
        assert_eq!(left.least, Duration::from_secs(100));
        assert_eq!(left.most, Duration::from_secs(100 + 32));
        assert_eq!(left.unmeasured, [Kind::Score]);
        assert_eq!(left.absent, [Service::Bounds]);
        assert_eq!(time_left(&[of(Kind::Train, None)], &workers.into()), None);
        let many = [(Service::Trainer, 8)].into();
        let left = time_left(&[of(Kind::Train, Some(100.0))], &many).unwrap();
        assert_eq!(left.least, Duration::from_secs(25), "of eight four work");
        let left = time_left(&[of(Kind::Sample, Some(1.0))], &many).unwrap();
        assert_eq!(left.absent, [Service::Sampler]);
    }
}

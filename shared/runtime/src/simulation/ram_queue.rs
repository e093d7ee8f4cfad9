//! The broker in memory, with the habits that the protocol must bear: acknowledgements that do not
//! ask who holds the job, lost answers, redelivery after `ack_wait`, a delivery budget, one message
//! per subject, total loss.

use crate::{
    Envelope,
    queue::{Delivery, Published, Queue, QueueError, Receipt},
    store::InjectedFault,
};
use bytes::Bytes;
use cedm_contract::{DeadLetter, Event, JobKey, Kind, Priority, filters, job_subject};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

type Plan = Box<dyn FnMut(&'static str) -> InjectedFault + Send>;
type Observer = Box<dyn Fn(&Event) + Send>;

struct Message {
    sequence: u64,
    payload: Bytes,
    envelope: Envelope,
    delivered: u64,
    /// It is not delivered before.
    ready_at: Instant,
}

struct Delayed {
    due: Instant,
    payload: Bytes,
    envelope: Envelope,
}

#[derive(Default)]
struct State {
    last_sequence: u64,
    jobs: BTreeMap<String, Message>,
    delayed: BTreeMap<String, Delayed>,
    letters: BTreeMap<JobKey, DeadLetter>,
    events: Vec<Event>,
}

/// A broker in memory, for the simulation.
pub(super) struct RamQueue {
    state: Mutex<State>,
    plan: Mutex<Plan>,
    /// Sees every event as it is stored.
    observe: Mutex<Observer>,
    ack_wait: Duration,
    max_deliver: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn store(&mut self, subject: String, payload: Bytes, envelope: Envelope) -> Published {
        if self.jobs.contains_key(&subject) {
            return Published::Occupied;
        }
        self.last_sequence += 1;
        let message = Message {
            sequence: self.last_sequence,
            payload,
            envelope,
            delivered: 0,
            ready_at: Instant::now(),
        };
        self.jobs.insert(subject, message);
        Published::Stored
    }

    /// Schedules that are due; one whose subject is held is dropped, as the server does.
    fn fire(&mut self) {
        let now = Instant::now();
        let due: Vec<String> = self
            .delayed
            .iter()
            .filter(|(_, delayed)| delayed.due <= now)
            .map(|(subject, _)| subject.clone())
            .collect();
        for subject in due {
            if let Some(delayed) = self.delayed.remove(&subject) {
                self.store(subject, delayed.payload, delayed.envelope);
            }
        }
    }
}

impl RamQueue {
    pub(super) fn new(
        (ack_wait, max_deliver): (Duration, u64),
        plan: impl FnMut(&'static str) -> InjectedFault + Send + 'static,
        observe: impl Fn(&Event) + Send + 'static,
    ) -> Self {
        Self {
            state: Mutex::default(),
            plan: Mutex::new(Box::new(plan)),
            observe: Mutex::new(Box::new(observe)),
            ack_wait,
            max_deliver,
        }
    }

    fn request<T>(
        &self,
        action: &'static str,
        effect: impl FnOnce(&mut State) -> T,
    ) -> Result<T, QueueError> {
        let fault = (lock(&self.plan))(action);
        let lost = || QueueError::new(action, "injected fault");
        if fault == InjectedFault::Before {
            return Err(lost());
        }
        let mut state = lock(&self.state);
        state.fire();
        let value = effect(&mut state);
        if fault == InjectedFault::After {
            Err(lost())
        } else {
            Ok(value)
        }
    }

    /// Everything is lost, and sequences start again: an answer to an old delivery can hit another
    /// job.
    pub(super) fn broker_loss(&self) {
        let mut state = lock(&self.state);
        let (letters, events) = (
            std::mem::take(&mut state.letters),
            std::mem::take(&mut state.events),
        );
        // Letters and events are kept for the checker only; nothing in the protocol reads them
        // after this.
        *state = State {
            letters,
            events,
            ..State::default()
        };
    }

    pub(super) fn is_outstanding(&self, kind: Kind, priority: Priority, key: &JobKey) -> bool {
        let subject = job_subject(kind, priority, key);
        let mut state = lock(&self.state);
        state.fire();
        state.jobs.contains_key(&subject) || state.delayed.contains_key(&subject)
    }

    /// What the redeliverer does: jobs past their delivery budget become dead letters. How many.
    pub(super) fn move_stuck(&self) -> usize {
        let mut state = lock(&self.state);
        state.fire();
        let now = Instant::now();
        let stuck: Vec<String> = state
            .jobs
            .iter()
            .filter(|(_, message)| message.delivered >= self.max_deliver && message.ready_at <= now)
            .map(|(subject, _)| subject.clone())
            .collect();
        for subject in &stuck {
            if let Some(message) = state.jobs.remove(subject) {
                let failure = cedm_contract::FailureKind::Bug;
                let letter = crate::redeliverer::dead_letter_of(
                    subject,
                    &message.payload,
                    failure,
                    "gave up".to_owned(),
                    message.delivered,
                    String::new(),
                );
                state.letters.insert(letter.key.clone(), letter);
            }
        }
        stuck.len()
    }

    pub(super) fn letters(&self) -> Vec<JobKey> {
        lock(&self.state).letters.keys().cloned().collect()
    }

    /// Removes the letter, as a replay does.
    pub(super) fn forget(&self, key: &JobKey) {
        lock(&self.state).letters.remove(key);
    }

    pub(super) fn events(&self) -> Vec<Event> {
        lock(&self.state).events.clone()
    }

    pub(super) fn is_empty(&self) -> bool {
        let state = lock(&self.state);
        state.jobs.is_empty() && state.delayed.is_empty()
    }
}

/// The receipt of a delivery, which may be stale. The broker knows it by its lane and sequence
/// alone.
struct RamReceipt {
    queue: Arc<RamQueue>,
    /// Filter of its subjects, `cedm.job.<kind>.<priority>.>`
    lane: String,
    sequence: u64,
}

/// The queue as workers hold it.
#[derive(Clone)]
pub(super) struct Shared(pub Arc<RamQueue>);

#[async_trait::async_trait]
impl Queue for Shared {
    async fn pull(&self, kind: Kind, priority: Priority) -> Result<Option<Delivery>, QueueError> {
        let (ack_wait, max_deliver) = (self.0.ack_wait, self.0.max_deliver);
        let lane = filters::lane(kind, priority);
        let taken = self.0.request("pull", |state| {
            let now = Instant::now();
            let found = state.jobs.iter_mut().find(|(subject, message)| {
                filters::takes(&lane, subject)
                    && message.ready_at <= now
                    && message.delivered < max_deliver
            });
            found.map(|(subject, message)| {
                message.delivered += 1;
                message.ready_at = now + ack_wait;
                (
                    subject.clone(),
                    message.payload.clone(),
                    message.envelope,
                    message.sequence,
                    message.delivered,
                )
            })
        })?;
        Ok(
            taken.map(|(subject, payload, envelope, sequence, delivered)| {
                let receipt = Box::new(RamReceipt {
                    queue: self.0.clone(),
                    lane: lane.clone(),
                    sequence,
                });
                Delivery {
                    subject,
                    payload,
                    envelope,
                    sequence,
                    delivered,
                    receipt,
                }
            }),
        )
    }

    async fn late_delivery(&self) -> Option<Delivery> {
        None
    }

    async fn publish(
        &self,
        lane: (Kind, Priority),
        key: &JobKey,
        payload: Bytes,
        envelope: Envelope,
        _: &str,
    ) -> Result<Published, QueueError> {
        self.0.request("publish", |state| {
            state.store(job_subject(lane.0, lane.1, key), payload, envelope)
        })
    }

    async fn delay(
        &self,
        lane: (Kind, Priority),
        key: &JobKey,
        payload: Bytes,
        envelope: Envelope,
        after: Duration,
    ) -> Result<Published, QueueError> {
        self.0.request("delay", |state| {
            let subject = job_subject(lane.0, lane.1, key);
            if state.delayed.contains_key(&subject) {
                return Published::Occupied;
            }
            state.delayed.insert(
                subject,
                Delayed {
                    due: Instant::now() + after,
                    payload,
                    envelope,
                },
            );
            Published::Stored
        })
    }

    async fn dead_letter(&self, letter: &DeadLetter) -> Result<(), QueueError> {
        self.0.request("dead_letter", |state| {
            state.letters.insert(letter.key.clone(), letter.clone());
        })
    }

    async fn publish_event(&self, event: &Event, _: &Envelope) -> Result<(), QueueError> {
        self.0.request("publish_event", |state| {
            (lock(&self.0.observe))(event);
            state.events.push(event.clone());
        })
    }
}

impl RamReceipt {
    fn held<'a>(&self, state: &'a mut State) -> Option<(String, &'a mut Message)> {
        let mut of_lane = state
            .jobs
            .iter_mut()
            .filter(|(subject, _)| filters::takes(&self.lane, subject));
        let found = of_lane
            .find(|(_, message)| message.sequence == self.sequence && message.delivered > 0)?;
        Some((found.0.clone(), found.1))
    }

    fn answer(
        &self,
        action: &'static str,
        effect: impl FnOnce(&mut Message),
    ) -> Result<(), QueueError> {
        self.queue.request(action, |state| {
            if let Some((_, message)) = self.held(state) {
                effect(message);
            }
        })
    }
}

#[async_trait::async_trait]
impl Receipt for RamReceipt {
    /// Removes the job under whoever holds it now: the broker does not fence.
    async fn double_ack(&self) -> Result<(), QueueError> {
        self.queue.request("ack", |state| {
            if let Some((subject, _)) = self.held(state) {
                state.jobs.remove(&subject);
            }
        })
    }
    async fn nak(&self, after: Option<Duration>) -> Result<(), QueueError> {
        self.answer("nak", |message| {
            message.ready_at = Instant::now() + after.unwrap_or_default()
        })
    }
    async fn progress(&self) -> Result<(), QueueError> {
        let ack_wait = self.queue.ack_wait;
        self.answer("progress", |message| {
            message.ready_at = Instant::now() + ack_wait
        })
    }
}

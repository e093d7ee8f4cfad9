//! Waiting for a job, with the broker's own wake-up.

use super::{Inbox, NatsQueue, fail};
use crate::queue::{Delivery, QueueError};
use bytes::Bytes;
use cedm_contract::{Kind, Priority, parse_job_subject};
use futures::StreamExt;
use std::time::Duration;

/// How long to wait for what the broker has sent already when a worker stops waiting.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(1);

impl NatsQueue {
    /// Waits until a job of one of these lanes is delivered, for `expires` at most or until `stop` is
    /// ready. The broker wakes one of those that wait for a job, and nobody else hears of it. More than
    /// one job may arrive, of several lanes: the most urgent comes first, and the others are for the
    /// caller to return.
    ///
    /// # Errors
    /// When NATS fails, or a consumer is missing.
    pub(crate) async fn wait(
        &self,
        lanes: &[(Kind, Priority)],
        expires: Duration,
        stop: impl Future<Output = ()>,
    ) -> Result<Vec<Delivery>, QueueError> {
        let mut connected = self.connected.clone();
        if !*connected.borrow_and_update() {
            let reason = "NATS is not connected".to_owned();
            return Err(QueueError::new("wait for a job", reason));
        }
        // An inbox of its own: once it is closed the broker forgets the pulls that answer to it.
        let mut inbox = self.open_inbox().await?;
        let request = format!(r#"{{"batch":1,"expires":{}}}"#, expires.as_nanos());
        for (kind, priority) in lanes {
            let subject = self.pull_subject(*kind, *priority);
            let request = Bytes::from(request.clone());
            let sent = self
                .client
                .publish_with_reply(subject, inbox.subject.clone(), request);
            sent.await.map_err(fail("wait for a job"))?;
        }
        let overdue = tokio::time::sleep(expires + CLOSING_TIMEOUT);
        tokio::pin!(stop, overdue);
        let (mut found, mut unanswered) = (Vec::new(), lanes.len());
        let mut failure = None;
        while found.is_empty() && unanswered > 0 && failure.is_none() {
            tokio::select! {
                biased;
                message = inbox.messages.next() => match message.map(|message| self.delivery(message)) {
                    Some(Ok(Some(delivery))) => found.push(delivery),
                    Some(Ok(None)) => unanswered -= 1,
                    Some(Err(error)) => failure = Some(error),
                    None => break,
                },
                // A pull is lost with its connection.
                _ = connected.changed() => break,
                () = &mut stop => break,
                () = &mut overdue => break,
            }
        }
        found.extend(self.close(inbox).await);
        found.sort_by_key(|delivery| {
            parse_job_subject(&delivery.subject).map_or(Priority::P2, |(_, priority, _)| priority)
        });
        match failure {
            Some(error) if found.is_empty() => Err(error),
            _ => Ok(found),
        }
    }

    /// Closes an inbox; the jobs that were on their way to it.
    async fn close(&self, mut inbox: Inbox) -> Vec<Delivery> {
        let mut found = Vec::new();
        let closed = async {
            if inbox.messages.drain().await.is_err() {
                return;
            }
            while let Some(message) = inbox.messages.next().await {
                found.extend(self.delivery(message).ok().flatten());
            }
        };
        // Without an answer a job that is on its way is redelivered after `ack_wait`.
        let _ = tokio::time::timeout(CLOSING_TIMEOUT, closed).await;
        found
    }
}

//! The dead letters as one reader knows them: what is new is read, by sequence; what was read is not read
//! again.

use super::{DeadLetters, decode};
use crate::RuntimeError;
use cedm_contract::{DEAD_STREAM, JobKey, Kind};
use std::collections::{BTreeMap, HashSet};

/// Letters of which each refresh asks whether their job has a result by now, beside those that are in
/// doubt: an event that said so may have been lost.
const ASKED_AGAIN: usize = 16;

/// What is kept of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownLetter {
    /// Key of its job.
    pub key: JobKey,
    /// Kind of its job.
    pub kind: Kind,
    /// Why the job was given up.
    pub error: String,
    /// Whether it carries a job that can be read.
    pub has_job: bool,
}

/// The letters that [`DeadLetters::refresh`] has read.
#[derive(Debug, Default)]
pub struct LetterBook {
    /// Everything up to this sequence was read.
    read_to: u64,
    /// By sequence, so oldest first; `None` for a message that is no letter.
    messages: BTreeMap<u64, Option<KnownLetter>>,
    /// Letters whose job may have a result.
    doubted: HashSet<JobKey>,
    /// The letter up to which [`ASKED_AGAIN`] came.
    asked_to: u64,
}

impl LetterBook {
    /// The letters that can be read.
    pub fn letters(&self) -> impl Iterator<Item = &KnownLetter> {
        self.messages.values().flatten()
    }

    /// The job of a letter may have a result: the next refresh looks.
    pub fn doubt(&mut self, key: &JobKey) {
        self.doubted.insert(key.clone());
    }

    /// The letters that are to be asked for their results now: those in doubt, and a few in turn.
    fn due(&mut self) -> Vec<(u64, JobKey)> {
        let letters = |from: u64| {
            self.messages
                .range(from..)
                .filter_map(|(sequence, letter)| Some((*sequence, &letter.as_ref()?.key)))
        };
        let doubted = letters(0).filter(|(_, key)| self.doubted.contains(*key));
        let in_turn = letters(self.asked_to + 1).take(ASKED_AGAIN);
        let in_turn: Vec<(u64, JobKey)> = in_turn
            .map(|(sequence, key)| (sequence, key.clone()))
            .collect();
        let mut due: Vec<(u64, JobKey)> = doubted
            .map(|(sequence, key)| (sequence, key.clone()))
            .collect();
        self.asked_to = match in_turn.last() {
            Some((sequence, _)) if in_turn.len() == ASKED_AGAIN => *sequence,
            _ => 0,
        };
        due.extend(in_turn);
        due.sort_unstable();
        due.dedup();
        self.doubted.clear();
        due
    }
}

impl DeadLetters {
    /// Brings a book up to date: reads the letters that are new, and drops those that are gone. A letter
    /// whose job has a sound result by now is removed from the stream, as by [`DeadLetters::list`].
    ///
    /// # Errors
    /// When NATS or the store fails; what was read stays read.
    pub async fn refresh(&self, book: &mut LetterBook) -> Result<(), RuntimeError> {
        let extent = self.queue.extent(DEAD_STREAM).await?;
        if extent.last < book.read_to {
            // The stream is another one: a broker that lost its data counts from one again.
            *book = LetterBook::default();
        }
        book.messages = book.messages.split_off(&extent.first);
        while book.read_to < extent.last {
            let next = self
                .queue
                .next(DEAD_STREAM, "cedm.dead.>", book.read_to + 1)
                .await?;
            let Some(stored) = next else { break };
            let letter = decode(&stored).ok().map(|letter| KnownLetter {
                has_job: letter.job.is_some(),
                key: letter.key,
                kind: letter.kind,
                error: letter.error,
            });
            if let Some(letter) = &letter {
                book.doubted.insert(letter.key.clone());
            }
            book.read_to = stored.sequence;
            book.messages.insert(stored.sequence, letter);
        }
        book.read_to = book.read_to.max(extent.last);
        self.drop_removed(book, extent.messages).await?;
        for (sequence, key) in book.due() {
            if self.has_result(&key).await? {
                self.queue.remove(DEAD_STREAM, sequence).await?;
                book.messages.remove(&sequence);
            }
        }
        Ok(())
    }

    /// Drops what was removed from within the stream: looked for only where the numbers differ.
    async fn drop_removed(&self, book: &mut LetterBook, messages: u64) -> Result<(), RuntimeError> {
        if book.messages.len() as u64 == messages {
            return Ok(());
        }
        let deleted = self.queue.deleted(DEAD_STREAM).await?;
        for sequence in deleted {
            book.messages.remove(&sequence);
        }
        Ok(())
    }
}

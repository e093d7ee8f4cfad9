//! What an import understood, for people: what the source is, where labels came from, how many
//! images each class has, and what was not used.

use super::{Imported, Skipped};
use crate::source::Source;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an import understood of its source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// What the source is, in words.
    pub source: String,
    /// Where the labels came from; absent without labels.
    pub labels_from: Option<String>,
    /// Images of each label.
    pub class_counts: BTreeMap<i64, u64>,
    /// What a user should know of labels and files that were not used.
    pub notes: Vec<String>,
}

/// Classes and skipped files that are listed one by one for people.
const SHOWN: usize = 10;
/// Skipped files that are listed for programs: a folder may have a million.
const LISTED: usize = 100;
/// Reasons that are counted one by one, and what the others are called.
const REASONS: usize = 20;
const OTHER_REASONS: &str = "other reasons";
/// Longest name or reason in a list, in bytes: members of archives may have names of a megabyte.
const TEXT: usize = 1000;

fn shortened(text: &str) -> String {
    if text.len() <= TEXT {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(TEXT)])
}

impl Summary {
    /// `several` of the images are the first picture of their files.
    pub(super) fn new(set: &dyn Source, class_counts: BTreeMap<i64, u64>, several: u64) -> Self {
        let labels = set.labels();
        let several = match several {
            0 => None,
            1 => Some(
                "1 file holds several pictures (an animation, pages): the first is taken"
                    .to_owned(),
            ),
            _ => Some(format!(
                "{several} files hold several pictures (animations, pages): of each the first is \
                 taken"
            )),
        };
        let notes = labels.notes.iter().chain(&several);
        Self {
            source: set.kind(),
            labels_from: labels.from.as_deref().map(shortened),
            class_counts,
            notes: notes.map(|note| shortened(note)).collect(),
        }
    }
}

impl Imported {
    /// The first hundred of what was left out, for summaries: the whole list stands in the record.
    pub fn first_skipped(&self) -> Vec<Skipped> {
        let first = self.skipped.iter().take(LISTED);
        first
            .map(|left| Skipped {
                name: shortened(&left.name),
                reason: shortened(&left.reason),
            })
            .collect()
    }

    /// How many files were left out for each reason: the twenty most frequent, the others together.
    pub fn skipped_by_reason(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::<&str, u64>::new();
        for left in &self.skipped {
            *all.entry(left.reason.as_str()).or_default() += 1;
        }
        let mut all: Vec<(&str, u64)> = all.into_iter().collect();
        // The sort is stable: of equally frequent ones the first by name.
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let mut counts = BTreeMap::new();
        for (at, (reason, count)) in all.into_iter().enumerate() {
            let name = if at < REASONS {
                shortened(reason)
            } else {
                OTHER_REASONS.to_owned()
            };
            *counts.entry(name).or_default() += count;
        }
        counts
    }

    /// The import in a few lines of text: what was read, labels and classes, notes, what was left
    /// out. Names come from the source, which may be a stranger's: control characters are escaped.
    pub fn lines(&self) -> Vec<String> {
        let (set, summary) = (&self.set, &self.summary);
        let mut lines = vec![format!(
            "{}: {} images of {side}×{side}, {} channel{}",
            summary.source,
            set.count,
            set.channels,
            if set.channels == 1 { "" } else { "s" },
            side = set.resolution
        )];
        lines.push(match &summary.labels_from {
            None => "no labels".to_owned(),
            Some(from) => format!("labels from {from}: {}", self.classes()),
        });
        lines.extend(summary.notes.iter().map(|note| format!("note: {note}")));
        if !self.skipped.is_empty() {
            lines.push(format!("{} left out:", self.skipped.len()));
            let shown = self.skipped.iter().take(SHOWN);
            lines.extend(
                shown.map(|left| {
                    format!("  {}: {}", shortened(&left.name), shortened(&left.reason))
                }),
            );
        }
        if self.skipped.len() > SHOWN {
            lines.push(format!(
                "  and {} more; by reason:",
                self.skipped.len() - SHOWN
            ));
            let reasons = self.skipped_by_reason();
            lines.extend(
                reasons
                    .iter()
                    .map(|(reason, count)| format!("    {count}: {reason}")),
            );
        }
        let printable = |line: &String| cedm_terminal::printable(&shortened(line)).into_owned();
        lines.iter().map(printable).collect()
    }

    /// "3 classes, cat 120, dog 80, …".
    fn classes(&self) -> String {
        let counts = &self.summary.class_counts;
        let name = |label: i64| {
            let index = usize::try_from(label).unwrap_or(usize::MAX);
            let name = self.set.class_names.get(index).cloned();
            name.unwrap_or_else(|| format!("class {label}"))
        };
        let mut text = format!("{} classes", counts.len());
        for (label, count) in counts.iter().take(SHOWN) {
            text += &format!(", {} {count}", shortened(&name(*label)));
        }
        if counts.len() > SHOWN {
            text += ", …";
        }
        text
    }
}

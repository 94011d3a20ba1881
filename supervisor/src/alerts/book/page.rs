//! The book as it is written down.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Active, Book, Bounds, Labels, Past, Silence};
use crate::alerts::rule::{Owner, Rule, WINDOW_SECS_MAX};
use crate::alerts::state::State;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    rules: Vec<Rule>,
    silences: Vec<Silence>,
    active: Vec<Line>,
    history: Vec<Past>,
    #[serde(default)]
    told: Vec<Told>,
}

/// An alert that is pending or fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    owner: Owner,
    rule: String,
    labels: Labels,
    alert: Active,
}

/// Something that was told and is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    owner: Owner,
    rule: String,
    labels: Labels,
    #[expect(clippy::struct_field_names, reason = "files have it under this name")]
    told_at_secs: f64,
}

impl Page {
    /// What a book says.
    pub fn of(book: &Book) -> Self {
        let line = |(rule, labels, alert): (&Arc<Rule>, &Labels, &Active)| Line {
            owner: rule.owner.clone(),
            rule: rule.name.clone(),
            labels: labels.clone(),
            alert: alert.clone(),
        };
        let told = book.told.iter().flat_map(|((owner, rule), told)| {
            told.iter().map(|(labels, told_at_secs)| Told {
                owner: owner.clone(),
                rule: rule.clone(),
                labels: labels.clone(),
                told_at_secs: *told_at_secs,
            })
        });
        Self {
            rules: book.rules().map(|rule| Rule::clone(rule)).collect(),
            silences: book.silences().to_vec(),
            active: book.active().map(line).collect(),
            history: book.history.values().flatten().cloned().collect(),
            told: told.collect(),
        }
    }

    /// A book that says it, as far as the bounds allow that now.
    pub fn open(self, bounds: Bounds) -> Book {
        let mut book = Book::new(bounds);
        for mut rule in self.rules {
            // It may be of a time when more was allowed.
            rule.selection.window_secs = rule.selection.window_secs.min(WINDOW_SECS_MAX);
            if rule.is_configured || book.has_room(&rule.owner).is_ok() {
                book.rules.insert((rule.owner.clone(), rule.name.clone()), Arc::new(rule));
            }
        }
        book.silences = self.silences;
        for Line { owner, rule, labels, alert } in self.active {
            let key = (owner, rule);
            let Some(rule) = book.rules.get(&key) else { continue };
            if alert.state != State::Inactive && book.counts.has_room(&bounds, rule, &labels) {
                book.write(&key, &labels, alert);
            }
        }
        for Told { owner, rule, labels, told_at_secs } in self.told {
            let key = (owner, rule);
            if book.rules.contains_key(&key) {
                book.rest(&key, &labels, told_at_secs);
            }
        }
        for past in self.history {
            book.add_past(past.owner.clone(), past);
        }
        book
    }
}

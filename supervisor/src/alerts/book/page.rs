//! The book as it is written down.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Active, Book, Bounds, Labels, Past, Silence};
use crate::alerts::rule::{Owner, Rule};
use crate::alerts::state::State;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    rules: Vec<Rule>,
    silences: Vec<Silence>,
    active: Vec<Line>,
    history: Vec<Past>,
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

impl Page {
    /// What a book says.
    pub(super) fn of(book: &Book) -> Self {
        let line = |(rule, labels, alert): (&Arc<Rule>, &Labels, &Active)| Line {
            owner: rule.owner.clone(),
            rule: rule.name.clone(),
            labels: labels.clone(),
            alert: alert.clone(),
        };
        Self {
            rules: book.rules().map(|rule| Rule::clone(rule)).collect(),
            silences: book.silences().to_vec(),
            active: book.active().map(line).collect(),
            history: book.history.values().flatten().cloned().collect(),
        }
    }

    /// A book that says it, as far as the bounds allow that now.
    pub fn open(self, bounds: Bounds) -> Book {
        let mut book = Book::new(bounds);
        for rule in self.rules {
            if rule.is_configured || book.has_room(&rule.owner).is_ok() {
                book.rules.insert((rule.owner.clone(), rule.name.clone()), Arc::new(rule));
            }
        }
        book.silences = self.silences;
        for Line { owner, rule, labels, alert } in self.active {
            let key = (owner, rule);
            let is_wanted = alert.state != State::Inactive && book.rules.contains_key(&key);
            if is_wanted && book.has_room_for_another(&key.0) {
                book.write(&key, &labels, alert, false);
            }
        }
        for past in self.history {
            book.add_past(past.owner.clone(), past);
        }
        book
    }
}

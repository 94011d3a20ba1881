//! What is seen of what the daemon told, and what a key does to it. Pure.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::columns::{self, Column};
use crate::admin::Glance;
use crate::telemetry::reports::fleet::Row;
use crate::telemetry::reports::tools::Tool;

/// How the daemon's answers are looked at.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub(super) pane: Pane,
    pub(super) mode: Mode,
    pub(super) sessions: List,
    pub(super) tools: List,
    /// Only lines that have this in them, in small letters or large ones.
    pub(super) filter: String,
    pub(super) is_paused: bool,
}

/// Which table is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Sessions,
    Tools,
}

/// What keys mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Orders.
    Browse,
    /// A filter, which was that before.
    Filter { before: String },
    /// Anything ends the help.
    Help,
}

/// How a table is sorted, and which line is selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List {
    pub(super) sorted_by: usize,
    pub(super) is_reversed: bool,
    /// The selected line's handle or name: it stays selected wherever it goes.
    pub(super) selected: Option<String>,
    /// Where it was seen last: when it is gone, the one that is there now is selected.
    place: usize,
}

/// What a key asks for beside another look of the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    /// To ask the daemon now.
    Ask,
    Quit,
}

/// The longest filter.
const FILTER_CHARS_MAX: usize = 100;

/// Lines that a page key passes.
const PAGE: isize = 10;

impl Default for View {
    fn default() -> Self {
        let list = |sorted_by| List { sorted_by, is_reversed: false, selected: None, place: 0 };
        Self {
            pane: Pane::Sessions,
            mode: Mode::Browse,
            sessions: list(columns::SESSIONS_BY),
            tools: list(columns::TOOLS_BY),
            filter: String::new(),
            is_paused: false,
        }
    }
}

impl View {
    /// Does what a key says.
    pub(super) fn on_key(&mut self, key: KeyEvent, glance: &Glance) -> Wish {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Wish::Quit } else { Wish::Nothing };
        }
        let before = self.sessions.selected.clone();
        let wish = match self.mode {
            Mode::Browse => self.obey(key.code, glance),
            Mode::Filter { .. } => self.spell(key.code),
            Mode::Help => {
                self.mode = Mode::Browse;
                Wish::Nothing
            }
        };
        self.settle(glance);
        if wish == Wish::Nothing && before != self.sessions.selected && !self.is_paused {
            // Another trend is to be seen.
            return Wish::Ask;
        }
        wish
    }

    /// Sees to it that a line that there is is selected, if there is any.
    pub(super) fn settle(&mut self, glance: &Glance) {
        let sessions: Vec<String> =
            self.rows(glance).into_iter().map(|row| row.session_id.clone()).collect();
        self.sessions.settle(&sessions);
        let tools: Vec<String> =
            self.tool_rows(glance).into_iter().map(|tool| tool.tool.clone()).collect();
        self.tools.settle(&tools);
    }

    /// The sessions that are seen, in their order.
    pub(super) fn rows<'a>(&self, glance: &'a Glance) -> Vec<&'a Row> {
        let text = |row: &Row| {
            let Row { session_id, name, tenant, pid, state, .. } = row;
            let (name, pid) = (name.as_deref().unwrap_or(""), pid.unwrap_or(0));
            format!("{session_id} {tenant} {name} {pid} {state}")
        };
        self.sessions.sorted(&columns::SESSIONS, self.chosen(&glance.fleet.sessions, text))
    }

    /// The tools that are seen, in their order.
    pub(super) fn tool_rows<'a>(&self, glance: &'a Glance) -> Vec<&'a Tool> {
        self.tools.sorted(&columns::TOOLS, self.chosen(&glance.fleet.tools, |it| it.tool.clone()))
    }

    fn chosen<'a, T>(&self, all: &'a [T], text: impl Fn(&T) -> String) -> Vec<&'a T> {
        let wanted = self.filter.to_lowercase();
        all.iter().filter(|it| text(it).to_lowercase().contains(&wanted)).collect()
    }

    fn obey(&mut self, key: KeyCode, glance: &Glance) -> Wish {
        match key {
            KeyCode::Char('q') => return Wish::Quit,
            KeyCode::Char('?' | 'h') => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Filter { before: self.filter.clone() },
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('p') => {
                self.is_paused = !self.is_paused;
                return if self.is_paused { Wish::Nothing } else { Wish::Ask };
            }
            KeyCode::Char('t') => {
                self.pane = match self.pane {
                    Pane::Sessions => Pane::Tools,
                    Pane::Tools => Pane::Sessions,
                }
            }
            KeyCode::Char('s') => self.sort_by_another(1),
            KeyCode::Char('S') => self.sort_by_another(-1),
            KeyCode::Char('r') => self.list().is_reversed ^= true,
            KeyCode::Down | KeyCode::Char('j') => self.select(1, glance),
            KeyCode::Up | KeyCode::Char('k') => self.select(-1, glance),
            KeyCode::PageDown => self.select(PAGE, glance),
            KeyCode::PageUp => self.select(-PAGE, glance),
            KeyCode::Home | KeyCode::Char('g') => self.select(isize::MIN, glance),
            KeyCode::End | KeyCode::Char('G') => self.select(isize::MAX, glance),
            _ => (),
        }
        Wish::Nothing
    }

    fn spell(&mut self, key: KeyCode) -> Wish {
        match key {
            KeyCode::Enter => self.mode = Mode::Browse,
            KeyCode::Esc => {
                if let Mode::Filter { before } = std::mem::replace(&mut self.mode, Mode::Browse) {
                    self.filter = before;
                }
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(char)
                if !char.is_control() && self.filter.chars().count() < FILTER_CHARS_MAX =>
            {
                self.filter.push(char);
            }
            _ => (),
        }
        Wish::Nothing
    }

    fn sort_by_another(&mut self, step: isize) {
        let count = match self.pane {
            Pane::Sessions => columns::SESSIONS.len(),
            Pane::Tools => columns::TOOLS.len(),
        };
        let list = self.list();
        list.sorted_by = (list.sorted_by + count).saturating_add_signed(step) % count;
    }

    fn select(&mut self, step: isize, glance: &Glance) {
        let names: Vec<String> = match self.pane {
            Pane::Sessions => {
                self.rows(glance).into_iter().map(|row| row.session_id.clone()).collect()
            }
            Pane::Tools => self.tool_rows(glance).into_iter().map(|it| it.tool.clone()).collect(),
        };
        let list = self.list();
        let place = list.place.saturating_add_signed(step).min(names.len().saturating_sub(1));
        list.selected = names.get(place).cloned();
    }

    fn list(&mut self) -> &mut List {
        match self.pane {
            Pane::Sessions => &mut self.sessions,
            Pane::Tools => &mut self.tools,
        }
    }
}

impl List {
    /// Which line is selected; nothing if there is none.
    pub(super) fn place(&self) -> Option<usize> {
        self.selected.as_ref().map(|_| self.place)
    }

    fn settle(&mut self, names: &[String]) {
        let place = names.iter().position(|name| Some(name) == self.selected.as_ref());
        self.place = place.unwrap_or(self.place).min(names.len().saturating_sub(1));
        self.selected = names.get(self.place).cloned();
    }

    /// What is equal stays as the daemon has told it.
    fn sorted<'a, T>(&self, columns: &[Column<T>], mut all: Vec<&'a T>) -> Vec<&'a T> {
        if let Some(column) = columns.get(self.sorted_by) {
            let key = column.key;
            all.sort_by(|one, other| key(one).compare(key(other), self.is_reversed));
        }
        all
    }
}

#[cfg(test)]
mod tests;

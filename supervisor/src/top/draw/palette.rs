//! Colours: of the terminal's own sixteen, or none where `NO_COLOR` says so.

use ratatui::style::{Color, Modifier, Style};

/// What is told by colours is told by something else too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::top) struct Palette {
    is_coloured: bool,
}

impl Palette {
    /// What names something.
    pub(super) const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
    /// What matters less.
    pub(super) const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
    /// The selected line.
    pub(super) const SELECTED: Style = Style::new().add_modifier(Modifier::REVERSED);

    /// As <https://no-color.org> has it.
    pub(in crate::top) fn of_environment() -> Self {
        let is_coloured = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { is_coloured }
    }

    /// Without colours.
    #[cfg(test)]
    pub(in crate::top) fn plain() -> Self {
        Self { is_coloured: false }
    }

    /// With colours.
    #[cfg(test)]
    pub(in crate::top) fn coloured() -> Self {
        Self { is_coloured: true }
    }

    pub(super) fn accent(self) -> Style {
        self.of(Style::new(), Color::Cyan)
    }

    pub(super) fn good(self) -> Style {
        self.of(Style::new(), Color::Green)
    }

    pub(super) fn warn(self) -> Style {
        self.of(Style::new(), Color::Yellow)
    }

    pub(super) fn bad(self) -> Style {
        self.of(Self::STRONG, Color::Red)
    }

    fn of(self, style: Style, color: Color) -> Style {
        if self.is_coloured { style.fg(color) } else { style }
    }
}

//! Colours: of the terminal's own sixteen, or none where `NO_COLOR` says so.

use ratatui::style::{Color, Style};

/// What is told by colours is told by something else too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::top) struct Palette {
    is_coloured: bool,
}

impl Palette {
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
        self.of(Style::new().bold(), Color::Red)
    }

    pub(super) fn strong(self) -> Style {
        Style::new().bold()
    }

    pub(super) fn faint(self) -> Style {
        Style::new().dim()
    }

    pub(super) fn selected(self) -> Style {
        Style::new().reversed()
    }

    fn of(self, style: Style, color: Color) -> Style {
        if self.is_coloured { style.fg(color) } else { style }
    }
}

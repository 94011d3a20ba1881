//! Numbers, as short as a column is narrow.

/// A count or a rate: `0.5`, `12.3`, `1234`, `56.1k`, `7.8M`.
pub(super) fn rate(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() {
        "-".to_owned()
    } else if size == 0.0 {
        "0".to_owned()
    } else if size < 99.95 {
        format!("{number:.1}")
    } else if size < 9999.5 {
        format!("{number:.0}")
    } else if size < 999_950.0 {
        format!("{:.1}k", number / 1e3)
    } else {
        format!("{:.1}M", number / 1e6)
    }
}

/// A count.
#[expect(clippy::cast_precision_loss, reason = "three digits are enough for people")]
pub(super) fn count(number: u64) -> String {
    if number < 10_000 { number.to_string() } else { rate(number as f64) }
}

/// How long something takes: `12.3 µs`, `450 ms`, `6.7 s`.
pub(super) fn time(secs: f64) -> String {
    if secs < 0.999_5e-3 {
        format!("{} µs", rate(secs * 1e6))
    } else if secs < 0.999_5 {
        format!("{} ms", rate(secs * 1e3))
    } else {
        format!("{} s", rate(secs))
    }
}

/// A share of one: `34 %`.
pub(super) fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

/// A text of others, at most so many characters long, without those that do something to a
/// terminal.
pub(super) fn sound(text: &str, chars_max: usize) -> String {
    let is_sound = |char: char| !char.is_control() && !is_steering(char);
    let mut chars = text.chars().map(|char| if is_sound(char) { char } else { '\u{fffd}' });
    let mut short: String = chars.by_ref().take(chars_max).collect();
    if chars.next().is_some() {
        short.pop();
        short.push('…');
    }
    short
}

/// Whether a character is not seen, and turns others around or joins them.
fn is_steering(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let told = [0.0, 0.25, 12.34, 99.96, 1234.0, 56_123.0, 999_960.0, 7.8e6].map(rate);
        assert_eq!(told, ["0", "0.2", "12.3", "100", "1234", "56.1k", "1.0M", "7.8M"]);
        assert_eq!(rate(f64::NAN), "-");
        assert_eq!([9999, 10_000].map(count), ["9999", "10.0k"]);
        assert_eq!([12.3e-6, 0.45, 6.7].map(time), ["12.3 µs", "450 ms", "6.7 s"]);
        assert_eq!(percent(1.239), "124 %");
    }

    #[test]
    fn names_of_clients_do_nothing_to_a_terminal() {
        assert_eq!(sound("a\u{1b}[2Jb\u{202e}c", 20), "a\u{fffd}[2Jb\u{fffd}c");
        assert_eq!(sound("humanoid", 8), "humanoid");
        assert_eq!(sound("humanoids", 8), "humanoi…");
        assert_eq!(sound("", 3), "");
    }
}

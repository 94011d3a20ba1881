//! Tables for people.

/// Lays rows out in columns under a head.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> =
            cells.into_iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(head.to_vec());
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

/// A number of bytes, for people.
pub(crate) fn bytes(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are enough for people")]
    let mib = count as f64 / f64::from(1 << 20);
    if mib < 10.0 { format!("{mib:.1} MiB") } else { format!("{mib:.0} MiB") }
}

/// A number of seconds, for people.
pub(crate) fn seconds(secs: f64) -> String {
    if secs < 60.0 {
        format!("{secs:.0} s")
    } else if secs < 3600.0 {
        format!("{:.0} min", secs / 60.0)
    } else {
        format!("{:.1} h", secs / 3600.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must() {
        let rows = vec![vec!["a".to_owned(), "long".to_owned()], vec!["bcd".into(), "e".into()]];
        assert_eq!(table(&["x", "y"], &rows), "x    y\na    long\nbcd  e\n");
    }

    #[test]
    fn amounts_are_short() {
        assert_eq!(bytes(5 << 20), "5.0 MiB");
        assert_eq!(bytes(300 << 20), "300 MiB");
        assert_eq!(seconds(7200.0), "2.0 h");
    }
}

//! Headers that stand in a file, for whoever sends over HTTP: they may be secrets.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The longest file.
const BYTES_MAX: u64 = 64 << 10;

/// Lines `NAME: VALUE`; none of a path that is empty. Such as are none are refused, and never told.
pub(crate) fn headers(path: &Path) -> anyhow::Result<HeaderMap> {
    if path.as_os_str().is_empty() {
        return Ok(HeaderMap::new());
    }
    let read = || {
        let mut text = String::new();
        std::fs::File::open(path)?.take(BYTES_MAX + 1).read_to_string(&mut text)?;
        std::io::Result::Ok(text)
    };
    let text = read().with_context(|| format!("headers cannot be read from {}", path.display()))?;
    anyhow::ensure!(text.len() as u64 <= BYTES_MAX, "{} is too long", path.display());
    parse(&text).map_err(|number| {
        anyhow::anyhow!("line {number} of {} is not of the form NAME: VALUE", path.display())
    })
}

/// Fails with the number of the first line that is none.
fn parse(text: &str) -> Result<HeaderMap, usize> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let header = |(number, line): (usize, &str)| {
        let header = line.split_once(':').and_then(|(name, value)| {
            let name = HeaderName::try_from(name).ok()?;
            let mut value = HeaderValue::try_from(value.trim()).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        });
        header.ok_or(number + 1)
    };
    lines.map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_header_is_refused_and_not_told() {
        assert_eq!(parse("a: b\n\nno header\n"), Err(3));
        assert_eq!(parse("a b: c"), Err(1));
        let headers = parse("x-key:  value: with colon \n").unwrap();
        assert_eq!(headers["x-key"], "value: with colon");
        assert!(!format!("{headers:?}").contains("colon"));
        assert!(super::headers(Path::new("")).unwrap().is_empty());
        let refused = super::headers(Path::new("/nowhere/headers")).unwrap_err();
        assert_eq!(refused.to_string(), "headers cannot be read from /nowhere/headers");
    }
}

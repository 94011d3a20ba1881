//! Keys: which there are, and how they are laid over each other.

use toml::{Table, Value};

use super::{Config, Error};

/// Refuses keys that there are not.
pub(super) fn check(tree: &Table, origin: &str) -> Result<(), Error> {
    // The defaults are a table; were they not, serde would refuse unknown keys too.
    let Ok(Value::Table(known)) = Value::try_from(Config::default()) else { return Ok(()) };
    check_below("", tree, &known, origin)
}

fn check_below(path: &str, tree: &Table, known: &Table, origin: &str) -> Result<(), Error> {
    for (key, value) in tree {
        let whole = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (known.get(key), value) {
            (None, _) => {
                let near = known.keys().max_by(|left, right| {
                    let likeness = |known: &str| strsim::jaro_winkler(known, key);
                    likeness(left).total_cmp(&likeness(right))
                });
                let near = near.filter(|near| 0.6 < strsim::jaro_winkler(near, key));
                let nearest =
                    near.map(
                        |near| {
                            if path.is_empty() { near.clone() } else { format!("{path}.{near}") }
                        },
                    );
                return Err(Error::UnknownKey { origin: origin.to_owned(), key: whole, nearest });
            }
            (Some(Value::Table(known)), Value::Table(tree)) => {
                check_below(&whole, tree, known, origin)?;
            }
            (Some(_), _) => (),
        }
    }
    Ok(())
}

/// Lays `over` over `under`.
pub(super) fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

/// More parts than any key has: tables in tables are dropped by recursion.
const PARTS_MAX: usize = 16;

/// Reads `KEY=VALUE`. What is no TOML value is a string, so that nobody has to quote.
pub(super) fn assignment(text: &str) -> Result<Table, Error> {
    let wrong = || Error::Assignment(text.to_owned());
    let (key, value) = text.split_once('=').ok_or_else(wrong)?;
    let parsed = format!("value = {value}").parse::<Table>();
    // More than one: a line break in what is meant as one value.
    let single = parsed.ok().filter(|table| table.len() == 1);
    let parsed = single.and_then(|mut table| table.remove("value"));
    let value = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
    let parts: Vec<&str> = key.trim().split('.').collect();
    if PARTS_MAX < parts.len() || parts.iter().any(|part| part.is_empty()) {
        return Err(wrong());
    }
    let mut table = Table::new();
    let mut value = value;
    for part in parts.iter().skip(1).rev() {
        value = Value::Table(Table::from_iter([((*part).to_owned(), value)]));
    }
    table.insert(parts[0].to_owned(), value);
    Ok(table)
}

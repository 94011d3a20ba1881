//! The command line.

use std::path::PathBuf;

const USAGE: &str = "usage: bench [--only N,M…] [--quick] [--json FILE]";

/// What is to be measured, and how well.
#[derive(Debug, Default)]
pub(crate) struct Options {
    only: Vec<u32>,
    /// Fewer repetitions.
    pub(crate) quick: bool,
    /// Where the numbers go, too.
    pub(crate) json: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value; {USAGE}"));
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--json" => options.json = Some(value()?.into()),
                "--only" => {
                    let numbers = value()?;
                    let numbers = numbers.split(',').map(|number| number.trim().parse());
                    let numbers = numbers.collect::<Result<Vec<_>, _>>();
                    options.only = numbers.map_err(|error| format!("--only: {error}; {USAGE}"))?;
                }
                _ => return Err(format!("`{arg}` is unknown; {USAGE}")),
            }
        }
        Ok(options)
    }

    pub(crate) fn wants(&self, number: u32) -> bool {
        self.only.is_empty() || self.only.contains(&number)
    }

    /// How often to do something: `count` times, or a fifth of that.
    pub(crate) fn times(&self, count: u32) -> u32 {
        if self.quick { count.div_ceil(5) } else { count }
    }
}

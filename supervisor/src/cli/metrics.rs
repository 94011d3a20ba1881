//! `simward metrics`: what was measured, as a file.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::Timestamp;

use crate::admin;
use crate::telemetry::export::{Format, Question, export};
use crate::telemetry::history::{Archive, Tier};
use crate::telemetry::metric::{Metric, Scope};

#[derive(Debug, Args)]
pub(super) struct MetricsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write what is kept of the past as a table: of minutes for a week, of hours for a year. The
    /// daemon may run meanwhile, and need not.
    Export {
        /// From when on: a time such as 2026-11-28T12:00:00Z, or how long ago, such as 90m, 12h, 7d.
        #[arg(long, default_value = "1d", value_parser = moment)]
        from: i64,
        /// Until when, in the same forms.
        #[arg(long, default_value = "0s", value_parser = moment)]
        to: i64,
        /// Of what.
        #[arg(long, value_enum, default_value = "fleet")]
        scope: Scope,
        /// Only of the session, model or tool of that name.
        #[arg(long)]
        name: Option<String>,
        /// Which metric; all without. May be repeated.
        #[arg(long = "metric", value_name = "NAME", value_parser = metric)]
        metrics: Vec<&'static Metric>,
        /// Whether a row is of a minute or of an hour.
        #[arg(long, value_enum, default_value = "minute")]
        step: Step,
        /// The form.
        #[arg(long, value_enum, default_value = "csv")]
        format: Format,
        /// The file; `-` is standard output.
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
        /// The daemon's state folder.
        #[arg(long, env = "SIMWARD_STATE_DIR", value_name = "DIR")]
        state_dir: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Step {
    Minute,
    Hour,
}

pub(super) fn run(args: MetricsArgs) -> anyhow::Result<()> {
    let Action::Export { from, to, scope, name, metrics, step, format, output, state_dir } =
        args.action;
    anyhow::ensure!(from < to, "the time that is asked for ends before it begins");
    for metric in &metrics {
        let name = metric.name;
        anyhow::ensure!(metric.scopes.contains(&scope), "`{name}` is not measured of a {scope}");
    }
    let tier = match step {
        Step::Minute => Tier::Minutes,
        Step::Hour => Tier::Hours,
    };
    let path = Archive::path(&state_dir.unwrap_or_else(admin::default_state_dir));
    let archive = Archive::open(&path)
        .with_context(|| format!("there is nothing to export in {}", path.display()))?;
    let question = Question { scope, name, metrics, tier, range: from..to };
    let rows = if output == Path::new("-") {
        export(&archive, &question, format, std::io::stdout())?
    } else {
        write(&archive, &question, format, &output)?
    };
    crate::complain(&format!("{rows} rows"));
    Ok(())
}

/// Writes a file that is there whole or not at all.
fn write(
    archive: &Archive,
    question: &Question,
    format: Format,
    path: &Path,
) -> anyhow::Result<u64> {
    let part = path.with_added_extension("part");
    let write = || {
        let mut file = BufWriter::new(File::create(&part)?);
        let rows = export(archive, question, format, &mut file)?;
        file.into_inner()?.sync_all()?;
        std::fs::rename(&part, path)?;
        anyhow::Ok(rows)
    };
    write()
        .inspect_err(|_| {
            // What there is of it is of no use.
            std::fs::remove_file(&part).ok();
        })
        .with_context(|| format!("{} could not be written", path.display()))
}

fn metric(name: &str) -> Result<&'static Metric, String> {
    let nearest = || format!("there is no such metric; did you mean `{}`?", Metric::nearest(name));
    Metric::named(name).ok_or_else(nearest)
}

/// A moment in seconds since 1970, out of a time or of how long ago it is.
fn moment(text: &str) -> Result<i64, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at.as_second());
    }
    let unit_secs = match text.chars().next_back() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => 0,
    };
    let count = text.get(..text.len().saturating_sub(1)).and_then(|count| count.parse().ok());
    let ago: Option<i64> = count.and_then(|count: u32| i64::from(count).checked_mul(unit_secs));
    let ago = ago.filter(|_| unit_secs != 0);
    let now = Timestamp::now().as_second();
    ago.map(|ago| now - ago).ok_or_else(|| {
        "it is neither a time such as 2026-11-28T12:00:00Z nor how long ago, such as 12h".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        assert_eq!(moment("1970-01-02T00:00:00Z"), Ok(86_400));
        let now = Timestamp::now().as_second();
        for (text, ago) in [("0s", 0), ("90m", 5400), ("2h", 7200), ("7d", 604_800)] {
            let at = moment(text).unwrap();
            assert!((now - ago - 5..=now - ago + 5).contains(&at), "{text}");
        }
        for text in ["", "d", "-1d", "1w", "7", "é", "99999999999d"] {
            moment(text).unwrap_err();
        }
    }
}

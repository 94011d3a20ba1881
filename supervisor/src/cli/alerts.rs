//! `simward alerts`: a running daemon's rules, and what they have found.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::print;
use super::table::table;
use crate::admin::{self, Ask, AskAlerts, Imported};
use crate::alerts::Listing;
use crate::alerts::prometheus::{Exported, TEXT_BYTES_MAX};
use crate::alerts::replay::{Firing, Trial};
use crate::alerts::report::{AlertReport, PastReport, RuleReport, SilenceReport};
use crate::alerts::rule::{Severity, Spec};

#[derive(Debug, Args)]
pub(super) struct AlertsArgs {
    #[command(subcommand)]
    action: Action,
    /// The daemon's state folder.
    #[arg(long, env = "SIMWARD_STATE_DIR", value_name = "DIR", global = true)]
    state_dir: Option<PathBuf>,
    /// The daemon's administration socket, instead of the one in its state folder.
    #[arg(long, env = "SIMWARD_SOCKET", value_name = "FILE", global = true)]
    socket: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// What fires, what has fired, and the rules.
    List {
        /// Only of this rule.
        #[arg(long)]
        rule: Option<String>,
        /// Only about this session.
        #[arg(long, value_name = "ID")]
        session: Option<String>,
        /// At least that bad.
        #[arg(long, value_enum)]
        severity: Option<Severity>,
        /// Entries of each kind.
        #[arg(long, default_value_t = 50)]
        max: usize,
    },
    /// How often a rule would have fired on what was measured, and when.
    Test {
        /// A rule in TOML as in `alerts.rules`, such as 'metric = "cpu", value = 0.8', or the name
        /// of one that there is.
        rule: String,
        /// How far back, in seconds.
        #[arg(long, default_value_t = 3600.0, value_name = "SECONDS")]
        last: f64,
    },
    /// Tell nobody of something for a while.
    Silence {
        /// Which rule; all of them without.
        rule: Option<String>,
        /// For how long, in seconds.
        #[arg(long = "for", value_name = "SECONDS")]
        secs: f64,
        /// Only about subjects with that label. May be repeated.
        #[arg(long = "label", value_name = "KEY=VALUE")]
        labels: Vec<String>,
        /// That tenant's rules, instead of the operators'.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Print rules for Prometheus; what it cannot express goes to standard error.
    Export {
        /// That tenant's rules, instead of the operators'.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Take rules out of a file of Prometheus's; those that cannot be are named.
    Import {
        /// The file; `-` is standard input.
        file: PathBuf,
        /// Only tell what would be taken.
        #[arg(long)]
        dry_run: bool,
    },
}

pub(super) fn run(args: AlertsArgs) -> anyhow::Result<()> {
    let AlertsArgs { action, state_dir, socket, json } = args;
    let socket = match socket {
        Some(socket) => socket,
        None => admin::find(&state_dir.unwrap_or_else(admin::default_state_dir))?,
    };
    let daemon = Daemon { socket, json };
    match action {
        Action::List { rule, session, severity, max } => {
            let asked = AskAlerts::List { rule, session_id: session, severity, max };
            daemon.show(asked, listing).map(drop)
        }
        Action::Test { rule, last } => {
            let asked = AskAlerts::Test { spec: Box::new(spec(&rule)?), last_secs: last };
            daemon.show(asked, trial).map(drop)
        }
        Action::Silence { rule, secs, labels, tenant } => {
            let labels = self::labels(&labels)?;
            daemon.show(AskAlerts::Silence { rule, tenant, labels, secs }, silence).map(drop)
        }
        Action::Export { tenant } => {
            let exported =
                daemon.show(AskAlerts::Export { tenant }, |it: &Exported| it.yaml.clone())?;
            exported.left_out.iter().for_each(|line| complain(line));
            Ok(())
        }
        Action::Import { file, dry_run } => {
            let asked = AskAlerts::Import { yaml: read(&file)?, dry_run };
            let Imported { refused, .. } = daemon.show(asked, imported)?;
            anyhow::ensure!(refused.is_empty(), "{} rules were not taken", refused.len());
            Ok(())
        }
    }
}

struct Daemon {
    socket: PathBuf,
    json: bool,
}

impl Daemon {
    fn show<T: DeserializeOwned + Serialize>(
        &self,
        about: AskAlerts,
        form: impl Fn(&T) -> String,
    ) -> anyhow::Result<T> {
        let answer: T = admin::client::ask(&self.socket, &Ask::Alerts { about })?;
        if self.json {
            print(&format!("{}\n", serde_json::to_string(&answer)?));
        } else {
            print(&form(&answer));
        }
        Ok(answer)
    }
}

/// A rule that is written in one line.
#[derive(Debug, Deserialize)]
struct Line {
    rule: Spec,
}

/// A rule as it is written in one line, or its name.
fn spec(text: &str) -> anyhow::Result<Spec> {
    if !text.contains('=') {
        return Ok(Spec { name: Some(text.to_owned()), ..Spec::default() });
    }
    let line: Line = toml::from_str(&format!("rule = {{ {text} }}")).context("it is no rule")?;
    Ok(line.rule)
}

fn labels(texts: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let label = |text: &String| {
        let (key, value) = text.split_once('=').with_context(|| {
            format!("`{text}` is not of the form KEY=VALUE, such as session_id=sim_0123")
        })?;
        Ok((key.to_owned(), value.to_owned()))
    };
    texts.iter().map(label).collect()
}

fn read(file: &std::path::Path) -> anyhow::Result<String> {
    let source: Box<dyn std::io::Read> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        let opened = std::fs::File::open(file);
        Box::new(opened.with_context(|| format!("could not open {}", file.display()))?)
    };
    let mut text = String::new();
    // One byte more, so that what is too long is refused and not cut.
    source.take(TEXT_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn listing(listing: &Listing) -> String {
    let alerts: Vec<_> = listing.alerts.iter().map(alert).collect();
    let past: Vec<_> = listing.history.iter().map(over).collect();
    let rules: Vec<_> = listing.rules.iter().map(rule).collect();
    let mut head = ["alert", "severity", "rule", "owner", "value", "since", "action", "about"];
    let mut text = table(&head, &alerts);
    text.push('\n');
    (head[0], head[5], head[6]) = ("over", "until", "done");
    text += &table(&head, &past);
    text.push('\n');
    text += &table(&["rule", "owner", "condition", "for", "from"], &rules);
    for silence in &listing.silences {
        text += &self::silence(silence);
    }
    if listing.items_cut != 0 {
        // Writing to a string does not fail.
        writeln!(text, "{} entries more", listing.items_cut).ok();
    }
    text
}

fn alert(alert: &AlertReport) -> Vec<String> {
    let next = alert.acts_at.as_ref().or(alert.done.as_ref());
    vec![
        alert.state.clone(),
        alert.severity.name().to_owned(),
        alert.rule.clone(),
        alert.owner.clone(),
        value(alert.value),
        alert.since.clone(),
        or_dash(next),
        about(&alert.labels),
    ]
}

fn over(past: &PastReport) -> Vec<String> {
    vec![
        past.why.name().to_owned(),
        past.severity.name().to_owned(),
        past.rule.clone(),
        past.owner.clone(),
        value(past.value),
        past.resolved_at.clone(),
        or_dash(past.done.as_ref()),
        about(&past.labels),
    ]
}

fn rule(rule: &RuleReport) -> Vec<String> {
    let from = if rule.configured { "configuration" } else { "set" };
    vec![
        rule.name.clone(),
        rule.owner.clone(),
        rule.condition.clone(),
        format!("{} s", rule.for_secs),
        from.to_owned(),
    ]
}

fn about(labels: &BTreeMap<String, String>) -> String {
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    labels.join(" ")
}

fn value(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

fn or_dash(text: Option<&String>) -> String {
    text.cloned().unwrap_or_else(|| "-".to_owned())
}

fn trial(trial: &Trial) -> String {
    let Trial { condition, from, until, looks, looks_with_data, .. } = trial;
    let mut text = format!(
        "{condition}\nfrom {from} until {until}: {looks} looks, {looks_with_data} with something to \
         see\nwould have fired {} times, reminded {} times, acted {} times\n",
        trial.fired_total, trial.reminded_total, trial.acted_total
    );
    let row = |firing: &Firing| {
        let until = firing.resolved_at.clone().unwrap_or_else(|| "still".to_owned());
        vec![firing.fired_at.clone(), until, about(&firing.labels)]
    };
    let rows: Vec<_> = trial.firings.iter().map(row).collect();
    text += &table(&["from", "until", "about"], &rows);
    text
}

fn silence(silence: &SilenceReport) -> String {
    let rule = silence.rule.as_deref().unwrap_or("every rule");
    format!("{rule} of {} is silent until {}\n", silence.owner, silence.until)
}

fn imported(imported: &Imported) -> String {
    let mut text = String::new();
    for (what, lines) in [
        ("taken", &imported.rules),
        ("not taken", &imported.refused),
        ("left out", &imported.left_out),
    ] {
        for line in lines {
            writeln!(text, "{what}: {line}").ok();
        }
    }
    text
}

#[expect(clippy::print_stderr, reason = "standard output is the file")]
fn complain(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_a_line_of_toml_or_a_name() {
        let line = spec("metric = \"cpu\", value = 0.8, for_secs = 5.0").unwrap();
        assert_eq!((line.metric.as_str(), line.value, line.for_secs), ("cpu", 0.8, Some(5.0)));
        assert_eq!(spec("processor busy").unwrap().name.as_deref(), Some("processor busy"));
        spec("metrik = \"cpu\"").unwrap_err();
    }
}
